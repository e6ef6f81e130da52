import { messageOf } from "@cache-registry/core/errors";
import type { UpstreamTarget } from "@cache-registry/registry-client/target";
import type { Logger } from "@cache-registry/runtime/logger";
import { type ContentRequest, isForUpstream, subjectOf } from "./answer.ts";
import type { BlobSources } from "./blob-sources.ts";
import { type BlobPart, type BlobPlace, continuedBody } from "./continued-body.ts";
import type { ProxyMetrics } from "./metrics.ts";

export type Continuation = {
  /** A blob's body that goes on from another source where one breaks. */
  body(request: ContentRequest, first: BlobPart, place: BlobPlace): AsyncIterable<Buffer>;
};

export type ContinuationOptions = {
  readonly sources: BlobSources;
  readonly metrics: ProxyMetrics;
  readonly logger: Logger;
};

export function createContinuation({ sources, metrics, logger }: ContinuationOptions): Continuation {
  function sourcesOf(request: ContentRequest, position: number): (() => Promise<BlobPart>)[] {
    const fromCache = (): Promise<BlobPart> => sources.fromCache(request, position);
    if (!isForUpstream(request) || request.resource.kind !== "blob") return [fromCache];
    const { digest } = request.resource;
    const upstreamRequest: ContentRequest<UpstreamTarget> = request;
    return [() => sources.fromUpstream(upstreamRequest, digest, position), fromCache];
  }

  /** From the upstream, or else from the cache once more. @throws the first source's failure */
  async function reopen(request: ContentRequest, { size }: BlobPlace, position: number): Promise<BlobPart> {
    let failure: unknown;
    for (const open of sourcesOf(request, position)) {
      try {
        const part = await open();
        if (part.size === undefined || size === undefined || part.size === size) return part;
        part.stream.destroy();
        throw new Error(`the ${part.source} says ${part.size} bytes instead of ${size}`);
      } catch (error) {
        request.signal.throwIfAborted();
        failure ??= error;
      }
    }
    throw failure;
  }

  return {
    body: (request, first, place) =>
      continuedBody({
        first,
        place,
        reopen: (position) => reopen(request, place, position),
        onBreak(position, error) {
          metrics.continued();
          const why = messageOf(error).slice(0, 200);
          logger.warn({ ...subjectOf(request), position, why }, "a body broke and is continued");
        },
        signal: request.signal,
      }),
  };
}
