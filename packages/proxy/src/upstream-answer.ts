import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import type { UpstreamTarget } from "@cache-registry/registry-client/target";
import { isUpstreamError } from "@cache-registry/registry-client/upstream-error";
import { type Answer, bodyOf, type ContentRequest, contentHeaders } from "./answer.ts";
import { authorizationForUpstream } from "./authorization.ts";
import type { BlobSources } from "./blob-sources.ts";
import { type ByteRange, parseByteRange } from "./byte-range.ts";
import type { Continuation } from "./continuation.ts";
import { type BlobPart, verifiedBody } from "./continued-body.ts";

export type UpstreamAnswers = {
  /** Straight from the upstream. @throws UpstreamError, CodedError RANGE_INVALID, or the signal's reason */
  manifest(request: ContentRequest<UpstreamTarget>, reference: string): Promise<Answer>;
  blob(request: ContentRequest<UpstreamTarget>, digest: Digest): Promise<Answer>;
};

export type UpstreamAnswersOptions = {
  readonly client: UpstreamClient;
  readonly sources: BlobSources;
  readonly continuation: Continuation;
};

const BLOB_TYPE = "application/octet-stream";

export function createUpstreamAnswers({ client, sources, continuation }: UpstreamAnswersOptions): UpstreamAnswers {
  const about = (request: ContentRequest<UpstreamTarget>) => ({
    registry: request.target.registry,
    repository: request.target.repository,
    authorization: authorizationForUpstream(request),
    signal: request.signal,
  });

  async function manifest(request: ContentRequest<UpstreamTarget>, reference: string): Promise<Answer> {
    const asked = { ...about(request), reference };
    if (request.method === "HEAD") {
      const { digest, mediaType, size } = await client.headManifest(asked);
      if (digest !== undefined && size !== undefined) {
        const headers = { ...contentHeaders(digest, mediaType, request.target), "content-length": String(size) };
        return { status: 200, headers };
      }
    }
    const { bytes, digest, mediaType } = await client.getManifest(asked);
    const headers = { ...contentHeaders(digest, mediaType, request.target), "content-length": String(bytes.length) };
    return { status: 200, headers, body: request.method === "GET" ? bodyOf(bytes) : undefined };
  }

  /** Where a range starts; the size must be asked for only when it counts from the end. */
  async function startOf(
    range: ByteRange | undefined,
    request: ContentRequest<UpstreamTarget>,
    digest: Digest,
  ): Promise<number> {
    if (range === undefined) return 0;
    if ("start" in range) return range.start;
    const { size } = await client.headBlob({ ...about(request), digest });
    if (range.suffix === 0) throw unsatisfiable(size);
    return size === undefined ? 0 : Math.max(0, size - range.suffix);
  }

  async function openAt(request: ContentRequest<UpstreamTarget>, digest: Digest, start: number): Promise<BlobPart> {
    try {
      return await sources.fromUpstream(request, digest, start);
    } catch (error) {
      throw isUpstreamError(error) && error.status === 416 ? unsatisfiable(undefined) : error;
    }
  }

  async function blob(request: ContentRequest<UpstreamTarget>, digest: Digest): Promise<Answer> {
    const common = { ...contentHeaders(digest, BLOB_TYPE, request.target), "accept-ranges": "bytes" };
    if (request.method === "HEAD") {
      const { size } = await client.headBlob({ ...about(request), digest });
      return { status: 200, headers: size === undefined ? common : { ...common, "content-length": String(size) } };
    }
    const range = parseByteRange(request.headers.range);
    const start = await startOf(range, request, digest);
    const part = await openAt(request, digest, start);
    const { size } = part;
    if (range === undefined || size === undefined) {
      // Without the size no range can be announced: a server may send the whole instead.
      if (part.offset > 0) part.stream.destroy();
      const whole = part.offset === 0 ? part : await openAt(request, digest, 0);
      const body = verifiedBody(continuation.body(request, whole, { start: 0, end: size, size }), digest);
      return {
        status: 200,
        headers: size === undefined ? common : { ...common, "content-length": String(size) },
        body,
      };
    }
    if (start >= size) {
      part.stream.destroy();
      throw unsatisfiable(size);
    }
    const end = Math.min(size, "end" in range && range.end !== undefined ? range.end + 1 : size);
    const body = continuation.body(request, part, { start, end, size });
    const headers = {
      ...common,
      "content-length": String(end - start),
      "content-range": `bytes ${start}-${end - 1}/${size}`,
    };
    return { status: 206, headers, body: start === 0 && end === size ? verifiedBody(body, digest) : body };
  }

  return { manifest, blob };
}

function unsatisfiable(size: number | undefined): CodedError {
  return new CodedError("RANGE_INVALID", undefined, {
    headers: size === undefined ? {} : { "content-range": `bytes */${size}` },
  });
}
