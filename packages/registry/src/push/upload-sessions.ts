import { randomUUID } from "node:crypto";
import { algorithmOf, type Digest, type DigestAlgorithm } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { createVerifier, type Verifier } from "@cache-registry/core/verify";
import { forgetOldest } from "@cache-registry/runtime/forget-oldest";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { BlobStore, BlobWriter } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { LocalRepository } from "../content/repository.ts";
import { writeBody } from "./write-body.ts";

/** An upload session of the distribution spec: its bytes are in a file that survives restarts, its hash state in memory. */
export type UploadSessions = {
  /** `algorithm`: of the digest that the blob will be called by, when known; any other costs reading it once more. */
  begin(repository: LocalRepository, algorithm?: DigestAlgorithm): Promise<string>;
  /** Bytes received so far. @throws CodedError BLOB_UPLOAD_UNKNOWN, also for another repository's session */
  offset(repository: LocalRepository, id: string): Promise<number>;
  /** Appends the body at `from` (undefined: at the end). Resolves with the new offset; what arrived of a cut body stays. */
  append(repository: LocalRepository, id: string, body: UploadBody): Promise<number>;
  /** Verifies, commits and links. The session ends, also when the digest does not match. */
  complete(repository: LocalRepository, id: string, end: UploadEnd): Promise<void>;
  /** A session of one request: nothing of it stays when it fails. */
  receive(repository: LocalRepository, end: UploadEnd): Promise<void>;
  cancel(repository: LocalRepository, id: string): Promise<void>;
  /** Gives up sessions idle since `before` and files that belong to none. Resolves with how many. */
  purge(before: number): Promise<number>;
};

export type UploadBody = {
  /** Its chunks are given up: their memory is freed when they are written. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Position that the client says its bytes start at (Content-Range). */
  readonly from?: number | undefined;
};

export type UploadEnd = UploadBody & { readonly digest: Digest };

export type UploadSessionDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  readonly metrics?: Metrics;
  /** With many replicas: before the id of each session that begins here, and which sessions are somebody else's. */
  readonly owner?: { readonly prefix: string; readonly isElsewhere: (id: string) => Promise<boolean> } | undefined;
  readonly now?: () => number;
};

/** Hash states kept for sessions between two requests; a forgotten one is made again from the file. */
const REMEMBERED_STATES = 1_000;

/** Bytes of all uploads that are in memory on their way to the disk, unless there are very many of them. */
const MEMORY_BYTES = 32 * 1024 * 1024;
const MAX_BATCH_BYTES = 512 * 1024;
const MIN_BATCH_BYTES = 64 * 1024;

export function createUploadSessions({
  blobs,
  metadata,
  digestLock,
  metrics,
  owner,
  now = Date.now,
}: UploadSessionDeps): UploadSessions {
  /** Sessions that a request has to itself now, with their open files. */
  const claimed = new Map<string, BlobWriter | undefined>();
  const states = new Map<string, Verifier>();
  metrics?.gauge({
    name: "uploads_in_progress",
    help: "Upload sessions that a request is writing to",
    collect: (gauge) => gauge.set(claimed.size),
  });

  async function find(repository: LocalRepository, id: string): Promise<void> {
    const upload = await metadata.upload(id);
    if (upload?.repository !== repository.name) throw new CodedError("BLOB_UPLOAD_UNKNOWN");
  }

  /** One request at a time changes a session. */
  async function claim<Result>(id: string, task: () => Promise<Result>): Promise<Result> {
    if (claimed.has(id)) {
      throw new CodedError("BLOB_UPLOAD_INVALID", "another request is writing to this upload session", { status: 409 });
    }
    claimed.set(id, undefined);
    try {
      return await task();
    } finally {
      claimed.delete(id);
    }
  }

  function withWriter<Result>(
    repository: LocalRepository,
    id: string,
    task: (writer: BlobWriter) => Promise<Result>,
  ): Promise<Result> {
    return claim(id, async () => {
      await find(repository, id);
      const writer = await blobs.openUpload(id);
      claimed.set(id, writer);
      try {
        return await task(writer);
      } finally {
        await writer.close();
      }
    });
  }

  async function write(id: string, writer: BlobWriter, { body, from }: UploadBody): Promise<Verifier> {
    if (from !== undefined && from !== writer.size) throw outOfOrder(writer.size);
    const verifier = await stateOf(id, writer);
    try {
      await writeBody({ body, writer, verifier, batchBytes });
    } finally {
      remember(id, verifier);
      await metadata.touchUpload(id, now());
    }
    return verifier;
  }

  function batchBytes(): number {
    return Math.max(MIN_BATCH_BYTES, Math.min(MAX_BATCH_BYTES, MEMORY_BYTES / (2 * claimed.size)));
  }

  async function stateOf(id: string, writer: BlobWriter): Promise<Verifier> {
    const known = states.get(id);
    states.delete(id);
    return known?.size === writer.size ? known : hashFile(writer, "sha256");
  }

  function remember(id: string, verifier: Verifier): void {
    states.set(id, verifier);
    forgetOldest(states, REMEMBERED_STATES);
  }

  async function forget(id: string): Promise<void> {
    states.delete(id);
    await blobs.removeUpload(id);
    await metadata.deleteUpload(id);
  }

  async function commit(repository: LocalRepository, writer: BlobWriter, digest: Digest): Promise<void> {
    const { size } = writer;
    await writer.prepare?.(digest);
    await digestLock.run(digest, async () => {
      await writer.commit(digest);
      await metadata.linkBlob({ repository, digest, size, now: now() });
    });
  }

  /** True when the session was idle and is gone. */
  async function giveUp(id: string, before: number): Promise<boolean> {
    // Looked at last: a request that came meanwhile has the session, and is no failure of the purge.
    if ((await owner?.isElsewhere(id)) || claimed.has(id)) return false;
    return claim(id, async () => {
      const upload = await metadata.upload(id);
      if (upload && upload.touchedAt >= before) return false;
      await forget(id);
      return true;
    });
  }

  async function begin(repository: LocalRepository, algorithm: DigestAlgorithm = "sha256"): Promise<string> {
    const id = `${owner?.prefix ?? ""}${randomUUID()}`;
    await metadata.createUpload({ id, repository: repository.name, startedAt: now(), touchedAt: now() });
    // Without a state a session begins with sha256.
    if (algorithm !== "sha256") remember(id, createVerifier(algorithm));
    return id;
  }

  async function complete(repository: LocalRepository, id: string, { digest, ...body }: UploadEnd): Promise<void> {
    await withWriter(repository, id, async (writer) => {
      const state = await write(id, writer, body);
      states.delete(id);
      const algorithm = algorithmOf(digest);
      const actual = (algorithm === state.algorithm ? state : await hashFile(writer, algorithm)).digest();
      if (actual !== digest) {
        await forget(id);
        throw new CodedError("DIGEST_INVALID", undefined, { detail: { expected: digest, actual } });
      }
      await commit(repository, writer, digest);
      await metadata.deleteUpload(id);
    });
  }

  return {
    begin,
    complete,
    async offset(repository, id) {
      await find(repository, id);
      const open = claimed.get(id);
      if (open) return open.size;
      const writer = await blobs.openUpload(id);
      await writer.close();
      return writer.size;
    },
    append: (repository, id, body) =>
      withWriter(repository, id, async (writer) => (await write(id, writer, body)).size),
    async receive(repository, end) {
      const id = await begin(repository, algorithmOf(end.digest));
      try {
        await complete(repository, id, end);
      } catch (error) {
        await claim(id, () => forget(id));
        throw error;
      }
    },
    async cancel(repository, id) {
      await claim(id, async () => {
        await find(repository, id);
        await forget(id);
      });
    },
    async purge(before) {
      let purged = 0;
      for (const { id } of await metadata.idleUploads(before, 1_000)) {
        if (await giveUp(id, before)) purged += 1;
      }
      for await (const { id, modifiedAt } of blobs.listUploads()) {
        if (modifiedAt >= before || (await metadata.upload(id))) continue;
        if (await giveUp(id, before)) purged += 1;
      }
      return purged;
    },
  };
}

/** Spec: a chunk out of order is 416; the Range header says what is there. */
function outOfOrder(size: number): CodedError {
  return new CodedError("RANGE_INVALID", "the chunk does not start where the last one ended", {
    headers: { range: `0-${Math.max(0, size - 1)}` },
  });
}

async function hashFile(writer: BlobWriter, algorithm: DigestAlgorithm): Promise<Verifier> {
  const verifier = createVerifier(algorithm);
  const buffer = Buffer.allocUnsafe(256 * 1024);
  while (verifier.size < writer.size) {
    const count = await writer.readAt(buffer, verifier.size);
    if (count === 0) throw new Error("upload file is shorter than its size");
    verifier.update(buffer.subarray(0, count));
  }
  return verifier;
}
