import { createSecretFile } from "@cache-registry/runtime/secret";
import type { CredentialsConfig } from "./upstream.ts";

export type BasicCredentials = { readonly username: string; readonly password: string };

export type CredentialSource = {
  /** Undefined: anonymous. @throws Error naming a file that cannot be read */
  read(): Promise<BasicCredentials | undefined>;
};

export const anonymous: CredentialSource = { read: async () => undefined };

/** What was configured for an upstream; files are read again when they change. */
export function createCredentialSource(config: CredentialsConfig | undefined): CredentialSource {
  if (config === undefined) return anonymous;
  const { username, password, usernameFile, passwordFile } = config;
  const files = {
    username: usernameFile === undefined ? undefined : createSecretFile(usernameFile),
    password: passwordFile === undefined ? undefined : createSecretFile(passwordFile),
  };
  return {
    async read() {
      return {
        username: (await files.username?.read()) ?? username ?? "",
        password: (await files.password?.read()) ?? password?.reveal() ?? "",
      };
    },
  };
}

/** RFC 7617. */
export function basicAuthorization({ username, password }: BasicCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** The credentials in an `Authorization: Basic` header; undefined when it is none. */
export function parseBasicAuthorization(header: string): BasicCredentials | undefined {
  const match = /^basic +([a-z0-9+/=_-]+) *$/i.exec(header);
  if (!match?.[1]) return undefined;
  const text = Buffer.from(match[1], "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
