import type { IncomingHttpHeaders } from "node:http";
import type { Digest } from "@cache-registry/core/digest";
import type { Target, UpstreamTarget } from "@cache-registry/registry-client/target";
import type { HeaderValues } from "./headers.ts";
import type { Resource } from "./request.ts";

/** A client's request for content, understood. */
export type ContentRequest<To extends Target = Target> = {
  readonly method: "GET" | "HEAD";
  readonly resource: Resource;
  readonly target: To;
  readonly headers: IncomingHttpHeaders;
  /** As the client wrote it. */
  readonly query: URLSearchParams;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
};

export type Answer = {
  readonly status: number;
  readonly headers: HeaderValues;
  /** Missing where there is none to send. It throws when it must be cut. Its chunks are given away: see spent-chunk.ts. */
  readonly body?: AsyncIterable<Uint8Array> | undefined;
};

/** Headers by which clients recognise content. Distribution spec, "Pulling manifests" and "Pulling blobs". */
export function contentHeaders(digest: Digest, mediaType: string, target: Target): Record<string, string> {
  const headers = {
    "content-type": mediaType,
    "docker-content-digest": digest,
    "docker-distribution-api-version": "registry/2.0",
    etag: `"${digest}"`,
  };
  return target.kind === "upstream" && target.byNamespace ? { ...headers, "oci-namespace": target.registry } : headers;
}

/** A body that is in memory already. */
export async function* bodyOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export function isForUpstream(request: ContentRequest): request is ContentRequest<UpstreamTarget> {
  return request.target.kind === "upstream";
}

/** For logs: what a request is about. */
export function subjectOf({ target }: ContentRequest): { readonly registry?: string; readonly repository: string } {
  const { repository } = target;
  return target.kind === "upstream" ? { registry: target.registry, repository } : { repository };
}
