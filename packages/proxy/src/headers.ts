/** As Node.js and undici give them: names in lower case. */
export type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>;

export type HeaderValues = Readonly<Record<string, string | readonly string[]>>;

/** Of one connection only, RFC 9110 §7.6.1. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What of a request concerns the cache. The rest (cookies, forwarding headers, …) has no business there. */
const PASSED_ON = ["accept", "if-match", "if-none-match", "if-range", "range", "user-agent"] as const;

/** Headers of an answer for the next connection. */
export function endToEnd(headers: IncomingHeaders): HeaderValues {
  const named = new Set(
    String(headers.connection ?? "")
      .toLowerCase()
      .split(/[\s,]+/),
  );
  const kept: Record<string, string | readonly string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !HOP_BY_HOP.has(name) && !named.has(name)) kept[name] = value;
  }
  return kept;
}

/** Headers of a client's request for the cache. `authorization` only where it is meant for the cache. */
export function headersForCache(headers: IncomingHeaders, withAuthorization: boolean): Record<string, string> {
  const passed: Record<string, string> = { "accept-encoding": "identity" };
  for (const name of withAuthorization ? [...PASSED_ON, "authorization"] : PASSED_ON) {
    const value = headers[name];
    if (value !== undefined) passed[name] = String(value);
  }
  return passed;
}
