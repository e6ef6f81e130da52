/**
 * Names under which secrets travel in headers, credentials files and configuration. One list for logs and for the
 * messages about bad configuration. A key that names a file (`passwordFile`) holds a path, not a secret.
 */
const SECRET_KEY =
  /^(?:proxy-?)?authorization$|passw(?:or)?d|passphrase|secret|token|cookie|credential|htpasswd|private-?key|api-?key|^auth$/i;
const NOT_SECRET = /(?:file|path|url|count|ttl|name)$/i;

export const REDACTED = "[redacted]";

/** Keys are few and come again with every log line. */
const known = new Map<string, boolean>();
const MAX_KNOWN = 1000;

export function isSecretKey(key: string): boolean {
  const cached = known.get(key);
  if (cached !== undefined) return cached;
  const secret = SECRET_KEY.test(key) && !NOT_SECRET.test(key);
  if (known.size < MAX_KNOWN) known.set(key, secret);
  return secret;
}

/** Hides user information in every URL of a text, JSON included: `https://user:pw@host` → `https://[redacted]@host`. */
export function redactUserinfo(text: string): string {
  return text.replace(/\/\/[^/\s@"\\]+@/g, `//${REDACTED}@`);
}
