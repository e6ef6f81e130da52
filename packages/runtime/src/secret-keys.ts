/**
 * Names under which secrets travel in headers, credentials files and configuration. One list for logs and for the
 * messages about bad configuration. A key that names a file (`passwordFile`) holds a path, not a secret.
 */
const SECRET_KEY =
  /^(?:proxy-?)?authorization$|passw(?:or)?d|passphrase|secret|token|cookie|credential|htpasswd|private-?key|api-?key|^auth$/i;
const NOT_SECRET = /(?:file|path|url|count|ttl|name)$/i;

export const REDACTED = "[redacted]";

export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key) && !NOT_SECRET.test(key);
}

/** Hides user information in every URL of a text: `https://user:pw@host` → `https://[redacted]@host`. */
export function redactUserinfo(text: string): string {
  return text.replace(/\/\/[^/\s@]+@/g, `//${REDACTED}@`);
}
