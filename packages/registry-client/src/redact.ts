/** Query parameters that never hold a secret. Presigned URLs carry theirs in the others. */
const SAFE_PARAMETERS = new Set(["account", "artifactType", "last", "n", "ns", "scope", "service"]);

/** A URL as it may be logged: no user information, no fragment, and only known parameters with their values. */
export function redactUrl(url: URL | string): string {
  if (!URL.canParse(String(url))) return "[invalid URL]";
  const redacted = new URL(url);
  redacted.username = "";
  redacted.password = "";
  redacted.hash = "";
  for (const key of new Set(redacted.searchParams.keys())) {
    if (!SAFE_PARAMETERS.has(key)) redacted.searchParams.set(key, "redacted");
  }
  return redacted.href;
}
