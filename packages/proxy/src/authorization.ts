import type { UpstreamTarget } from "@cache-registry/registry-client/target";
import type { ContentRequest } from "./answer.ts";

/*
 * Whom the client's Authorization header is for. With `?ns=` containerd shows what it would show the registry that it
 * asks for; otherwise it talks to the cache under the cache's own name.
 */

export function isForCache({ target }: ContentRequest): boolean {
  return target.kind === "local" || !target.byNamespace;
}

export function authorizationForUpstream({ target, headers }: ContentRequest<UpstreamTarget>): string | undefined {
  return target.byNamespace ? headers.authorization : undefined;
}
