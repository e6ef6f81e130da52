import { UpstreamError } from "./upstream-error.ts";

export const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/**
 * Where a redirect leads. Encryption once had is kept, and user information in a URL is no way to hand us credentials.
 * @throws UpstreamError invalid
 */
export function redirectTarget(from: URL, location: string | undefined, registry: string): URL {
  const refuse = (why: string): UpstreamError => new UpstreamError(`redirects ${why}`, { kind: "invalid", registry });
  if (location === undefined || !URL.canParse(location, from.href)) throw refuse("to no URL");
  const target = new URL(location, from);
  if (target.protocol !== "https:" && target.protocol !== "http:") throw refuse("to another protocol");
  if (from.protocol === "https:" && target.protocol === "http:") throw refuse("from https to http");
  if (target.username !== "" || target.password !== "") throw refuse("with credentials in the URL");
  target.hash = "";
  return target;
}

/** Headers for the next hop: `Authorization` stays with the origin that it was made for. RFC 9110 §15.4; fetch standard §4.4. */
export function redirectedHeaders(
  from: URL,
  to: URL,
  headers: Readonly<Record<string, string>>,
): Record<string, string> {
  const { authorization, ...rest } = headers;
  return authorization !== undefined && from.origin === to.origin ? { ...rest, authorization } : rest;
}
