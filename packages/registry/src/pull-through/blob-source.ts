import type { Digest } from "@cache-registry/core/digest";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import { createUrgency, type Priority, type Urgency } from "@cache-registry/runtime/wait-queue";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { UpstreamRepository } from "../content/repository.ts";
import type { FetchSteps, ShareFetch } from "../replicas/shared-fetch.ts";
import { type BlobFetch, startBlobFetch } from "./blob-fetch.ts";
import { isStoreFailure, type NotStored } from "./not-stored.ts";
import type { PullThroughMetrics } from "./pull-through-metrics.ts";
import { StoreFailure } from "./receive-blob.ts";
import { isTransient } from "./upstream-failure.ts";

/** Where the bytes of a blob come from: from the store, or from a fetch that is under way. */
export type BlobLocation =
  | { readonly kind: "stored"; readonly size: number }
  | { readonly kind: "fetching"; readonly fetch: BlobFetch; readonly joined: boolean };

export type BlobSource = {
  /**
   * Finds the blob or starts its one fetch. A blob held for another repository is served only after the upstream of this
   * one has vouched for it: knowing a digest gives no right to read.
   * @throws UpstreamError, CodedError
   */
  locate(repository: UpstreamRepository, digest: Digest, priority: Priority): Promise<BlobLocation>;
  /** The fetch of a digest from the repository's registry that is under way. */
  running(repository: UpstreamRepository, digest: Digest): BlobFetch | undefined;
  /** For another replica: the fetch that is under way. `unvouched`: nobody has asked this repository's upstream yet. */
  attach(repository: UpstreamRepository, digest: Digest, vouched: boolean): BlobFetch | "absent" | "unvouched";
  /** All that is under way. */
  underWay(): FetchUnderWay[];
};

/** Sizes in bytes; `size` undefined while the upstream has not said. `foreground`: a client waits for it. */
export type FetchUnderWay = {
  readonly digest: Digest;
  readonly size: number | undefined;
  readonly received: number;
  readonly foreground: boolean;
};

export type BlobSourceDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly client: UpstreamClient;
  readonly digestLock: DigestLock;
  readonly metrics: PullThroughMetrics;
  readonly notStored: NotStored;
  /** With many replicas. */
  readonly share?: ShareFetch | undefined;
};

type Running = {
  readonly fetch: BlobFetch;
  readonly repositories: Map<string, UpstreamRepository>;
  readonly urgency: Urgency;
};

export function createBlobSource(deps: BlobSourceDeps): BlobSource {
  const { metadata, client } = deps;
  const fetches = new Map<string, Running>();
  const vouching = createSingleFlight<void>();

  /** Shared within one registry only: another that is slow, or that lies, must not hold up who has a better one. */
  const keyOf = ({ upstream }: UpstreamRepository, digest: Digest): string => `${upstream} ${digest}`;

  function active(repository: UpstreamRepository, digest: Digest): Running | undefined {
    const running = fetches.get(keyOf(repository, digest));
    return running?.fetch.active ? running : undefined;
  }

  async function vouch(repository: UpstreamRepository, digest: Digest): Promise<void> {
    await vouching.run(`${repository.name}@${digest}`, async () => {
      await client.headBlob({ registry: repository.upstream, repository: repository.path, digest });
    });
  }

  /** Vouched for, so it may be read, also when that cannot be written down. */
  async function link(repository: UpstreamRepository, digest: Digest): Promise<boolean> {
    try {
      return await metadata.linkBlob({ repository, digest, now: Date.now() });
    } catch (error) {
      if (!isStoreFailure(error)) throw error;
      deps.notStored("blob", repository.upstream, error);
      return true;
    }
  }

  function start(repository: UpstreamRepository, digest: Digest, priority: Priority): BlobFetch {
    const repositories = new Map([[repository.name, repository]]);
    const urgency = createUrgency(priority);
    const fetch = fetchFrom(deps, { repository, digest, urgency, repositories });
    const key = keyOf(repository, digest);
    fetches.set(key, { fetch, repositories, urgency });
    const ended = deps.metrics.fetching();
    const forget = () => {
      ended();
      if (fetches.get(key)?.fetch === fetch) fetches.delete(key);
    };
    fetch.finished.then(forget, (error: unknown) => {
      forget();
      if (error instanceof StoreFailure) deps.notStored("blob", repository.upstream, error.cause);
    });
    return fetch;
  }

  return {
    running: (repository, digest) => active(repository, digest)?.fetch,
    attach(repository, digest, vouched) {
      const running = active(repository, digest);
      if (!running) return "absent";
      if (!vouched && !running.repositories.has(repository.name)) return "unvouched";
      running.repositories.set(repository.name, repository);
      return running.fetch;
    },
    underWay: () =>
      [...fetches.values()].map(({ fetch: { digest, size, received }, urgency }) => ({
        digest,
        size,
        received,
        foreground: urgency.current === "foreground",
      })),
    async locate(repository, digest, priority) {
      const blob = await metadata.blob(digest);
      if (blob && (await metadata.isLinked(repository.name, digest))) return { kind: "stored", size: blob.size };
      const other = active(repository, digest);
      if (blob || (other && !other.repositories.has(repository.name))) {
        await vouch(repository, digest);
        // Looked up again: the other fetch may have ended meanwhile.
        const held = await metadata.blob(digest);
        if (held && (await link(repository, digest))) {
          return { kind: "stored", size: held.size };
        }
      }
      // From here on nothing is awaited: two callers cannot both start.
      const running = active(repository, digest);
      if (!running) return { kind: "fetching", fetch: start(repository, digest, priority), joined: false };
      if (priority === "foreground") running.urgency.raise();
      running.repositories.set(repository.name, repository);
      return { kind: "fetching", fetch: running.fetch, joined: true };
    },
  };
}

function fetchFrom(
  deps: BlobSourceDeps,
  {
    repository,
    digest,
    urgency,
    repositories,
  }: {
    repository: UpstreamRepository;
    digest: Digest;
    urgency: Urgency;
    repositories: ReadonlyMap<string, UpstreamRepository>;
  },
): BlobFetch {
  const { blobs, metadata, client, digestLock, metrics } = deps;
  const { upstream: registry, path } = repository;
  const alone: FetchSteps = {
    open: (offset) => client.getBlob({ registry, repository: path, digest, offset, priority: urgency }),
    async commit(writer, size) {
      await writer.prepare?.(digest);
      await digestLock.run(digest, async () => {
        await writer.commit(digest);
        // A map's iterator also meets what joins while it runs.
        for (const linked of repositories.values()) {
          await metadata.linkBlob({ repository: linked, digest, size, now: Date.now() });
        }
      });
    },
  };
  const shared = deps.share?.({ digest, repositories, alone });
  const { open, commit } = shared ?? alone;
  const fetch = startBlobFetch({
    digest,
    blobs,
    open,
    commit,
    isRetryable: (error) => isTransient(error) || shared?.isRetryable(error) === true,
    onResume: (have) => metrics.resumed(registry, have),
    onBytes(count) {
      if (shared?.fromUpstream() ?? true) metrics.upstreamBytes(registry, count);
    },
  });
  const end = () => void shared?.end();
  fetch.finished.then(end, end);
  return fetch;
}
