/** Who we are to an upstream. Undefined where one may be missing: anonymous. */
export type Identity =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, which the upstream's token service exchanges for bearer tokens. */
  | { readonly kind: "identity-token"; readonly token: string }
  /** A bearer token for the registry itself: nothing is exchanged. */
  | { readonly kind: "registry-token"; readonly token: string };

export type BasicIdentity = Extract<Identity, { kind: "basic" }>;

export function basicIdentity(username: string, password: string): BasicIdentity {
  return { kind: "basic", username, password };
}

/** RFC 7617. */
export function basicAuthorization({ username, password }: BasicIdentity): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** `<base64 of name:password>`; undefined when it is not that. The password may hold colons. */
export function decodeBasic(encoded: string): BasicIdentity | undefined {
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : basicIdentity(text.slice(0, colon), text.slice(colon + 1));
}

/** The credentials in an `Authorization: Basic` header; undefined when it is none. */
export function parseBasicAuthorization(header: string): BasicIdentity | undefined {
  const match = /^basic +([a-z0-9+/=_-]+) *$/i.exec(header);
  return match?.[1] ? decodeBasic(match[1]) : undefined;
}
