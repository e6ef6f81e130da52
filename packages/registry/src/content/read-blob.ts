import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import type { BlobStore, ByteRange, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import { BlobMissingError } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { PullRecorder } from "../access/pull-recorder.ts";
import type { BlobFetch } from "../pull-through/blob-fetch.ts";
import type { BlobLocation, BlobSource } from "../pull-through/blob-source.ts";
import type { Outcome, PullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { StoreFailure } from "../pull-through/receive-blob.ts";
import { toClientError } from "../pull-through/upstream-failure.ts";
import { isUpstream, type Repository, type UpstreamRepository } from "./repository.ts";

export type BlobContent = {
  /** Bytes of the whole blob, undefined while the upstream has not said. */
  readonly size: number | undefined;
  readonly outcome: Outcome;
  readonly from: "store" | "fetch";
  reader(range?: ByteRange): Promise<ByteReader>;
};

export type ReadBlob = {
  /** @throws CodedError BLOB_UNKNOWN, or what the upstream's failure means to a client */
  open(repository: Repository, digest: Digest): Promise<BlobContent>;
  /** Never downloads: a blob that is not held is asked for upstream with HEAD. */
  stat(
    repository: Repository,
    digest: Digest,
  ): Promise<{ readonly size: number | undefined; readonly outcome: Outcome }>;
};

export type ReadBlobDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  readonly source: BlobSource;
  readonly client: UpstreamClient;
  readonly pulls: PullRecorder;
  readonly metrics: PullThroughMetrics;
};

/** A blob of a repository, from the store or through it. */
export function createReadBlob(deps: ReadBlobDeps): ReadBlob {
  const { blobs, metadata, digestLock, source } = deps;

  async function linkedSize(repository: Repository, digest: Digest): Promise<number | undefined> {
    const blob = await metadata.blob(digest);
    return blob && (await metadata.isLinked(repository.name, digest)) ? blob.size : undefined;
  }

  async function isWhole(digest: Digest, size: number): Promise<boolean> {
    return (await blobs.stat(digest))?.size === size;
  }

  async function locate(repository: Repository, digest: Digest): Promise<BlobLocation> {
    if (isUpstream(repository)) return source.locate(repository, digest, "foreground");
    const size = await linkedSize(repository, digest);
    if (size === undefined) throw new CodedError("BLOB_UNKNOWN");
    return { kind: "stored", size };
  }

  /** Evicted between the look and the opening, it is fetched anew. */
  function fromStore(repository: Repository, digest: Digest, size: number): BlobContent {
    const reader = (range?: ByteRange): Promise<ByteReader> =>
      blobs.open(digest, range).catch(async (error: unknown) => {
        if (!(error instanceof BlobMissingError) || !isUpstream(repository)) return fail(error);
        return (await opened(repository, digest).catch(fail)).reader(range);
      });
    return { size, outcome: "hit", from: "store", reader };
  }

  /** The row may outlive the bytes (a lost volume): the blob was forgotten now and is fetched anew. */
  async function opened(repository: Repository, digest: Digest): Promise<BlobContent> {
    return open(repository, digest).catch((error: unknown) => {
      if (error instanceof BlobMissingError && isUpstream(repository)) return open(repository, digest);
      throw error;
    });
  }

  async function open(repository: Repository, digest: Digest): Promise<BlobContent> {
    const location = await locate(repository, digest);
    if (location.kind === "stored") {
      if (await isWhole(digest, location.size)) return fromStore(repository, digest, location.size);
      await digestLock.run(digest, async () => {
        if (!(await isWhole(digest, location.size))) await metadata.forgetBlob(digest);
      });
      throw new BlobMissingError(digest);
    }
    const { fetch, joined } = location;
    const { size, stores } = await sizeOf(fetch, repository);
    const outcome = stores ? (joined ? "joined" : "miss") : "bypass";
    const reader = async (range?: ByteRange) => {
      const served = deps.metrics.waiting();
      const following = await follow(fetch, { blobs, digest, range }).catch((error: unknown) => {
        served();
        return fail(error);
      });
      return { read: (buffer: Uint8Array) => following.read(buffer), close: () => following.close().finally(served) };
    };
    return { size, outcome, from: "fetch", reader };
  }

  /** Without a store to write to the fetch never asked; the upstream says the size as well without sending the bytes. */
  async function sizeOf(
    fetch: BlobFetch,
    repository: Repository,
  ): Promise<{ readonly size: number | undefined; readonly stores: boolean }> {
    try {
      return { size: await fetch.opened, stores: true };
    } catch (error) {
      if (!(error instanceof StoreFailure) || !isUpstream(repository)) throw error;
      return { size: await statUpstream(repository, fetch.digest), stores: false };
    }
  }

  /**
   * A client that hears yes will not send or fetch the bytes, so they must be there and stay: under the lock the collector
   * is not between its decision and the removal, and sees the touch before the next one.
   */
  async function promise(repository: Repository, digest: Digest): Promise<number | undefined> {
    return digestLock.run(digest, async () => {
      const size = await linkedSize(repository, digest);
      if (size === undefined) return undefined;
      if (await isWhole(digest, size)) {
        deps.pulls.touched(repository.name, digest);
        await deps.pulls.settle();
        return size;
      }
      await metadata.forgetBlob(digest);
      return undefined;
    });
  }

  async function statUpstream(repository: UpstreamRepository, digest: Digest): Promise<number | undefined> {
    const head = await deps.client.headBlob({ registry: repository.upstream, repository: repository.path, digest });
    return head.size;
  }

  return {
    async open(repository, digest) {
      try {
        const content = await opened(repository, digest);
        deps.metrics.answered("blob", repository.upstream ?? "", content.outcome);
        return content;
      } catch (error) {
        return fail(error);
      }
    },
    async stat(repository, digest) {
      const size = await promise(repository, digest);
      if (size !== undefined) return { size, outcome: "hit" };
      if (!isUpstream(repository)) throw new CodedError("BLOB_UNKNOWN");
      return { size: await statUpstream(repository, digest).catch(fail), outcome: "miss" };
    },
  };
}

function fail(error: unknown): never {
  if (error instanceof BlobMissingError) throw new CodedError("BLOB_UNKNOWN", undefined, { cause: error });
  if (error instanceof StoreFailure) throw error.cause;
  throw toClientError(error, "blob");
}

/**
 * While nothing was shown yet, a fetch that fails can still be told as an error, which sends clients on to the upstream;
 * later it can only break off. Clients wait 30 s for headers (containerd), so they get them soon in any case. Milliseconds.
 */
const FAILURE_AS_STATUS_WITHIN_MS = 5_000;

async function follow(
  fetch: Pick<BlobFetch, "active" | "finished" | "passesOn" | "shows" | "reader">,
  { blobs, digest, range }: { blobs: BlobStore; digest: Digest; range: ByteRange | undefined },
): Promise<ByteReader> {
  if (fetch.active) {
    await fetch.shows(range?.start ?? 0, AbortSignal.timeout(FAILURE_AS_STATUS_WITHIN_MS)).catch((error: unknown) => {
      if (!(error instanceof StoreFailure)) throw error;
    });
  }
  if (fetch.active || fetch.passesOn) return fetch.reader(range);
  // It ended meanwhile and left its bytes in the store.
  await fetch.finished;
  return blobs.open(digest, range);
}
