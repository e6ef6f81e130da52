import { codeOf } from "@cache-registry/registry-client/failure";

/** As Node.js and OpenSSL name them. https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE_CODES = new Set([
  "CERT_HAS_EXPIRED",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);
/** What TLS makes of a server that speaks plain HTTP. */
const NO_TLS = /^(?:EPROTO|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG|ERR_SSL_HTTP_REQUEST)$/;
const MAX_CAUSES = 5;

/**
 * Is it that nobody told us to trust this server, or to ask it without TLS? Waiting does not change that, and the node's
 * containerd may have been told.
 */
export function isUntrusted(error: unknown): boolean {
  let cause = error;
  for (let depth = 0; depth < MAX_CAUSES && cause instanceof Error; depth += 1) {
    const code = codeOf(cause);
    if (CERTIFICATE_CODES.has(code) || NO_TLS.test(code)) return true;
    cause = cause.cause;
  }
  return false;
}
