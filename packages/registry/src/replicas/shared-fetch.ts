import type { Digest } from "@cache-registry/core/digest";
import { isCodedError } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { BlobStore, BlobWriter, ByteReader } from "@cache-registry/storage/blob-store/blob-store";
import type { Lease } from "@cache-registry/storage/lease-store/lease-store";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { UpstreamRepository } from "../content/repository.ts";
import type { UpstreamBody } from "../pull-through/receive-blob.ts";
import type { HeldLease, Leases } from "./leases.ts";
import { PeerError, type Peers } from "./peers.ts";

/** Longer than a lease outlives its holder, shorter than clients wait for headers (containerd: 30 s). Milliseconds. */
const OPEN_PATIENCE_MS = 12_000;
const COMMIT_PATIENCE_MS = 120_000;
const PAUSE_MS = 100;

/** How a fetch gets its bytes and what becomes of them. */
export type FetchSteps = {
  readonly open: (offset: number) => Promise<UpstreamBody>;
  readonly commit: (writer: BlobWriter, size: number) => Promise<void>;
};

export type FetchToShare = {
  readonly digest: Digest;
  /** Those of one registry that wait for the blob; more may join. The first one needs no vouching. */
  readonly repositories: ReadonlyMap<string, UpstreamRepository>;
  /** As it would be done without the others. */
  readonly alone: FetchSteps;
};

export type SharedFetch = FetchSteps & {
  readonly isRetryable: (error: unknown) => boolean;
  /** Did the last bytes come from the upstream? */
  readonly fromUpstream: () => boolean;
  /** To be called when the fetch ended, however. */
  readonly end: () => Promise<void>;
};

/** One upstream read for all replicas: who has the lease reads the upstream, the others read from that one. */
export type ShareFetch = (fetch: FetchToShare) => SharedFetch;

export type ShareFetchDeps = {
  readonly leases: Leases;
  readonly peers: Peers;
  readonly metadata: MetadataStore;
  readonly blobs: BlobStore;
  /** Asks the repository's upstream whether it has the blob. @throws UpstreamError */
  readonly vouch: (repository: UpstreamRepository, digest: Digest) => Promise<void>;
  readonly logger: Logger;
};

export function createShareFetch(deps: ShareFetchDeps): ShareFetch {
  return (fetch) => {
    const { digest, alone } = fetch;
    const [first] = fetch.repositories.values();
    // Of one registry: what another sends, and how slowly, is no concern of theirs.
    const name = `fetch/${first?.upstream}/${digest}`;
    let held: HeldLease | undefined;
    let ended = false;
    /** Who brought the last bytes: only what came from the upstream is not yet kept by anybody else. */
    let origin: "upstream" | "elsewhere" = "upstream";

    /** Undefined when this replica has the lease now, or there is nobody to ask for it. */
    async function otherHolder(): Promise<Lease | undefined> {
      if (held && !held.lost) return undefined;
      held = undefined;
      try {
        const answer = await deps.leases.acquire(name);
        if ("other" in answer) return answer.other;
        // Whoever reads on after the end has no use for it, and nobody would give it back.
        if (ended) await answer.held.release();
        else held = answer.held;
      } catch (err) {
        // Better two reads of the upstream than none.
        deps.logger.debug({ err, digest }, "fetching without a lease");
      }
      return undefined;
    }

    async function open(offset: number): Promise<UpstreamBody> {
      const deadline = performance.now() + OPEN_PATIENCE_MS;
      // Whoever reads on after the end, past a store that took nothing, is alone.
      while (!ended && performance.now() < deadline) {
        const other = await otherHolder();
        // Looked at with the lease in hand: its last holder may have finished.
        const kept = await fromStore(deps, fetch, offset).catch(unlessAway);
        if (kept) {
          origin = "elsewhere";
          return kept;
        }
        if (!other || other.address === null) break;
        const body = other.holder === deps.leases.id ? undefined : await fromPeer(deps, fetch, { other, offset });
        if (body) {
          origin = "elsewhere";
          return body;
        }
        await sleep(PAUSE_MS);
      }
      origin = "upstream";
      return alone.open(offset);
    }

    /** Who fetched it keeps it; if that one is gone, this replica has all the bytes as well. */
    async function commit(writer: BlobWriter, size: number): Promise<void> {
      const deadline = performance.now() + COMMIT_PATIENCE_MS;
      while (origin === "elsewhere" && performance.now() < deadline) {
        if (await link(deps, fetch)) return;
        if (!(await otherHolder())) {
          if (await link(deps, fetch)) return;
          break;
        }
        await sleep(PAUSE_MS);
      }
      await alone.commit(writer, size);
    }

    return {
      open,
      commit,
      isRetryable: (error) => error instanceof PeerError,
      fromUpstream: () => origin === "upstream",
      async end() {
        ended = true;
        await held?.release();
      },
    };
  };
}

/** What another replica reads now. Undefined when it does not (any more). */
async function fromPeer(
  { peers, vouch, logger }: ShareFetchDeps,
  { digest, repositories }: FetchToShare,
  { other, offset }: { readonly other: Lease; readonly offset: number },
): Promise<UpstreamBody | undefined> {
  const peer = { id: other.holder, address: other.address ?? "" };
  const [repository] = repositories.values();
  if (!repository) return undefined;
  try {
    const body = await peers.blob(peer, { digest, repository, offset, vouched: false });
    if (body === "absent") return undefined;
    if (body !== "unvouched") return body;
  } catch (err) {
    // Its lease ends soon if it is gone.
    logger.debug({ err, digest, replica: peer.id }, "a blob cannot be read from the replica that fetches it");
    return undefined;
  }
  await vouch(repository, digest);
  const body = await peers.blob(peer, { digest, repository, offset, vouched: true }).catch(() => "absent" as const);
  return typeof body === "string" ? undefined : body;
}

/** A read goes on without the stores: what comes of it is decided at the end. */
function unlessAway(error: unknown): undefined {
  if (!isCodedError(error) || error.status < 500) throw error;
}

/** The bytes of the store, if another replica has brought them there since the fetch began. */
async function fromStore(deps: ShareFetchDeps, fetch: FetchToShare, offset: number): Promise<UpstreamBody | undefined> {
  const { blobs, metadata, vouch } = deps;
  const { digest, repositories } = fetch;
  const blob = await metadata.blob(digest);
  if (!blob || (await blobs.stat(digest))?.size !== blob.size) return undefined;
  for (const repository of repositories.values()) {
    if (!(await metadata.isLinked(repository.name, digest))) await vouch(repository, digest);
  }
  if (!(await link(deps, fetch))) return undefined;
  const reader = await blobs.open(digest, { start: offset, end: Math.max(offset, blob.size - 1) });
  return { offset, size: blob.size, stream: chunksOf(reader) };
}

/** False when the blob is not there. All repositories of the fetch may read it: they were asked for, or vouched. */
async function link({ metadata }: ShareFetchDeps, { digest, repositories }: FetchToShare): Promise<boolean> {
  for (const repository of repositories.values()) {
    if ((await metadata.blob(digest)) && (await metadata.isLinked(repository.name, digest))) continue;
    if (!(await metadata.linkBlob({ repository, digest, now: Date.now() }))) return false;
  }
  return true;
}

async function* chunksOf(reader: ByteReader): AsyncGenerator<Uint8Array> {
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafe(128 * 1024);
      const count = await reader.read(buffer);
      if (count === 0) return;
      yield buffer.subarray(0, count);
    }
  } finally {
    await reader.close();
  }
}
