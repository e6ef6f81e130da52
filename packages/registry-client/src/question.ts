import type { Digest } from "@cache-registry/core/digest";
import type { Priority, Urgency } from "@cache-registry/runtime/wait-queue";
import type { Resource } from "./client-metrics.ts";
import type { TransportResponse } from "./transport.ts";
import type { Upstream } from "./upstream.ts";

export type RepositoryRequest = {
  readonly registry: string;
  readonly repository: string;
  /** The caller's own `Authorization` for this upstream, instead of the configured credentials. */
  readonly authorization?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Where a limit makes requests wait. */
  readonly priority?: Priority | Urgency | undefined;
};

/** `reference`: a tag or a digest. */
export type ManifestRequest = RepositoryRequest & { readonly reference: string };
export type ReferrersRequest = RepositoryRequest & { readonly subject: Digest };

/** Whose answer it is. */
export type AnswerOf = { readonly timeouts: Upstream["timeouts"]; readonly endpoint: URL };

/** One request to an upstream, whichever of its endpoints answers. */
export type Question<Value> = RepositoryRequest & {
  readonly kind: Resource;
  readonly resource: string;
  readonly method: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  /** Reads the answer; its failures count as the endpoint's. */
  readonly read: (response: TransportResponse, from: AnswerOf) => Promise<Value>;
};
