import type { Digest } from "@cache-registry/core/digest";
import { headerOf } from "@cache-registry/registry-client/body";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { parseContentLength, parseContentRange } from "@cache-registry/registry-client/content-range";
import { dismiss } from "@cache-registry/registry-client/origin";
import type { UpstreamTarget } from "@cache-registry/registry-client/target";
import type { ContentRequest } from "./answer.ts";
import { authorizationForUpstream, isForCache } from "./authorization.ts";
import type { CacheAnswer, CacheClient } from "./cache-client.ts";
import { cachePath } from "./cache-path.ts";
import type { BlobPart, BlobPlace } from "./continued-body.ts";
import { headersForCache } from "./headers.ts";

/** Which part of a blob an answer of the cache holds. Undefined: not one continuous part. */
export function placeOf({ statusCode: status, headers }: CacheAnswer): BlobPlace | undefined {
  if (status === 200) {
    const size = parseContentLength(headerOf(headers, "content-length"));
    return { start: 0, end: size, size };
  }
  const range = status === 206 ? parseContentRange(headerOf(headers, "content-range")) : undefined;
  return range && { start: range.start, end: range.end + 1, size: range.size };
}

export type BlobSources = {
  /** The blob from a position of it; the stream may start before. @throws whatever the source throws */
  fromUpstream(request: ContentRequest<UpstreamTarget>, digest: Digest, position: number): Promise<BlobPart>;
  fromCache(request: ContentRequest, position: number): Promise<BlobPart>;
};

export type BlobSourcesOptions = { readonly cache: CacheClient; readonly client: UpstreamClient };

export function createBlobSources({ cache, client }: BlobSourcesOptions): BlobSources {
  return {
    async fromUpstream(request, digest, position) {
      const { registry, repository } = request.target;
      const authorization = authorizationForUpstream(request);
      const { signal } = request;
      const part = await client.getBlob({ registry, repository, digest, offset: position, authorization, signal });
      return { ...part, source: "upstream" };
    },
    async fromCache(request, position) {
      const { resource, target, query, headers, signal } = request;
      const answer = await cache.ask({
        method: "GET",
        path: cachePath(resource, target, query),
        headers: {
          ...headersForCache({ authorization: headers.authorization }, isForCache(request)),
          range: `bytes=${position}-`,
        },
        signal,
      });
      const place = placeOf(answer);
      if (place && place.start <= position) {
        return { offset: place.start, size: place.size, stream: answer.body, source: "cache" };
      }
      dismiss(answer);
      throw new Error(`the cache answered ${answer.statusCode} to a range`);
    },
  };
}
