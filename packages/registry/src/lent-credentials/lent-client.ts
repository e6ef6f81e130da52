import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { isUpstreamError } from "@cache-registry/registry-client/upstream-error";
import type { LentCredentials } from "./lent-credentials.ts";

/** As many of a repository's lent credentials as one request tries: each costs the upstream a question. */
const MAX_TRIED = 4;

type Asking = { readonly registry: string; readonly repository: string; readonly authorization?: string | undefined };

/**
 * The client that asks for a private repository with the credentials that were lent for it, then as the configuration says.
 * A caller's own `Authorization` is used alone.
 */
export function withLentCredentials(
  client: UpstreamClient,
  lent: Pick<LentCredentials, "authorizationsFor" | "refused">,
): UpstreamClient {
  async function ask<Request extends Asking, Answer>(
    request: Request,
    call: (request: Request) => Promise<Answer>,
  ): Promise<Answer> {
    const { registry, repository } = request;
    const authorizations = request.authorization === undefined ? lent.authorizationsFor(registry, repository) : [];
    let refusal: unknown;
    for (const authorization of authorizations.slice(0, MAX_TRIED)) {
      try {
        return await call({ ...request, authorization });
      } catch (error) {
        if (!isRefusal(error)) throw error;
        if (!isNotFound(error)) lent.refused(registry, repository, authorization);
        refusal = moreTelling(refusal, error);
      }
    }
    try {
      return await call(request);
    } catch (error) {
      // That strangers are sent away is no news about an image for which somebody lent credentials.
      throw isRefusal(error) ? (refusal ?? error) : error;
    }
  }

  return {
    headManifest: (request) => ask(request, (asked) => client.headManifest(asked)),
    getManifest: (request) => ask(request, (asked) => client.getManifest(asked)),
    referrers: (request) => ask(request, (asked) => client.referrers(asked)),
    headBlob: (request) => ask(request, (asked) => client.headBlob(asked)),
    getBlob: (request) => ask(request, (asked) => client.getBlob(asked)),
    close: () => client.close(),
  };
}

/** Registries also say "not found" of what one may not see. */
function isRefusal(error: unknown): boolean {
  return isUpstreamError(error) && (error.kind === "unauthorized" || error.kind === "not-found");
}

function isNotFound(error: unknown): boolean {
  return isUpstreamError(error) && error.kind === "not-found";
}

/** Who was let in and found nothing knows more than who was not let in. */
function moreTelling(former: unknown, error: unknown): unknown {
  return former === undefined || (isNotFound(error) && !isNotFound(former)) ? error : former;
}
