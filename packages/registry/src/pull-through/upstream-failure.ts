import { codedErrorOf, isUpstreamError } from "@cache-registry/registry-client/upstream-error";

/** What a client is told when the upstream failed and nothing is held. */
export function toClientError(error: unknown, what: "manifest" | "blob"): unknown {
  return isUpstreamError(error) ? codedErrorOf(error, what) : error;
}

const TRANSIENT: ReadonlySet<string> = new Set(["unreachable", "timeout", "server"]);

/** May the upstream answer better when asked again in a moment? */
export function isTransient(error: unknown): boolean {
  return isUpstreamError(error) && TRANSIENT.has(error.kind);
}
