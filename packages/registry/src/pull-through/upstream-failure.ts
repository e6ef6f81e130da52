import { CodedError } from "@cache-registry/core/errors";
import { codedErrorOf, isUpstreamError } from "@cache-registry/registry-client/upstream-error";

/** What a client is told when the upstream failed and nothing is held. */
export function toClientError(error: unknown, what: "manifest" | "blob"): unknown {
  return isUpstreamError(error) ? codedErrorOf(error, what) : error;
}

/** May the upstream answer better when asked again in a moment? */
export function isTransient(error: unknown): boolean {
  if (isUpstreamError(error))
    return error.kind === "unreachable" || error.kind === "timeout" || error.kind === "server";
  return !(error instanceof CodedError);
}
