import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import type { MetadataStore } from "./metadata-store.ts";
import { createWriterChannel, type WriterChannel } from "./sqlite-channel.ts";
import type { WriterOptions, WriterStats } from "./sqlite-messages.ts";
import { createReads, type Reads } from "./sqlite-reads.ts";
import { createRecentRows } from "./sqlite-recent-rows.ts";
import { createSqliteUploads, type SqliteUploads } from "./sqlite-uploads.ts";

export type SqliteOptions = {
  /** The database file; made with its folder when it is not there. */
  readonly path: string;
  /**
   * `gc.grace` in milliseconds: events are queued for review that much later. Without it they are due at once, and the
   * first review postpones them.
   */
  readonly grace?: number;
  /** How long `start` waits for another process to let go of the database, in milliseconds. */
  readonly lockTimeout?: number;
  /** The writer died: nothing can be written any more and every pending write was rejected. The process should end. */
  readonly onFatal?: (error: Error) => void;
};

export type SqliteMetadataStore = MetadataStore & {
  /** Operations and the transactions that carried them: their quotient is what group commit saves. */
  writerStats(): Promise<WriterStats>;
};

/** Beside this file, in the sources as in a bundle that lies in one flat folder. */
const WRITER = new URL(`./sqlite-writer${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

type Opened = {
  readonly channel: WriterChannel;
  readonly reads: Reads;
  readonly uploads: SqliteUploads;
  close(): Promise<void>;
};

async function open({ path, grace = 0, lockTimeout = 3_000, onFatal }: SqliteOptions): Promise<Opened> {
  const workerData = { path, grace, lockTimeout } satisfies WriterOptions;
  // No flags of the process: some of them (--input-type, --eval) are about its main script and would end a worker.
  const worker = new Worker(WRITER, { workerData, name: "metadata-writer", execArgv: [] });
  const recent = createRecentRows();
  const channel = createWriterChannel(worker, { onWritten: () => recent.forget(), onFatal: onFatal ?? (() => {}) });
  await channel.ready();
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 });
  const reads = createReads(db, recent);
  const uploads = createSqliteUploads({
    read: reads,
    write: {
      createUpload: (upload) => channel.write("createUpload", upload),
      touchUpload: (id, now) => channel.write("touchUpload", id, now),
      deleteUpload: (id) => channel.write("deleteUpload", id),
    },
  });
  return {
    channel,
    reads,
    uploads,
    async close() {
      await uploads.flush().catch(() => undefined);
      // First, so that the writer can fold the whole log into the database.
      db.close();
      await channel.close();
    },
  };
}

/**
 * Driver on `node:sqlite`: one writer thread with group commit, point reads on the calling thread. For one process.
 * `start` rejects when another process holds the file, a newer program wrote it, or it is on a network file system.
 */
export function createSqliteMetadataStore(options: SqliteOptions): SqliteMetadataStore {
  let opened: Opened | undefined;

  function store(): Opened {
    if (!opened) throw new Error("the metadata store is not open");
    return opened;
  }
  const write: WriterChannel["write"] = async (operation, ...args) => store().channel.write(operation, ...args);

  return {
    async start() {
      opened ??= await open(options);
    },
    async close() {
      const closing = opened;
      opened = undefined;
      await closing?.close();
    },
    writerStats: () => write("writerStats"),

    hasRepository: async (name) => store().reads.hasRepository(name),
    listRepositories: async (page) => store().reads.listRepositories(page),
    putManifest: (put) => write("putManifest", put),
    manifest: async (repository, digest) => store().reads.manifest(repository, digest),
    references: async (repository, digest) => store().reads.references(repository, digest),
    referrers: async (repository, subject, page) => store().reads.referrers(repository, subject, page),
    putReferrersAnswer: (repository, subject, answer) => write("putReferrersAnswer", repository, subject, answer),
    referrersAnswer: async (repository, subject) => store().reads.referrersAnswer(repository, subject),
    deleteManifest: (repository, digest, now) => write("deleteManifest", repository, digest, now),
    tag: async (repository, name) => store().reads.tag(repository, name),
    listTags: async (repository, page) => store().reads.listTags(repository, page),
    markTag: (repository, name, state) => write("markTag", repository, name, state),
    deleteTag: (repository, name, now) => write("deleteTag", repository, name, now),
    recordPulls: (pulls) => write("recordPulls", pulls),
    lastPulledAt: async (repository, digest) => store().reads.lastPulledAt(repository, digest),

    blob: async (digest) => store().reads.blob(digest),
    isLinked: async (repository, digest) => store().reads.isLinked(repository, digest),
    listBlobs: async (page) => store().reads.listBlobs(page),
    blobHolders: async (digest) => store().reads.blobHolders(digest),
    findLocalLink: async (digest) => store().reads.findLocalLink(digest),
    linkBlob: (link) => write("linkBlob", link),
    unlinkBlob: (repository, digest, now) => write("unlinkBlob", repository, digest, now),
    touchBlobs: (touches) => write("touchBlobs", touches),
    forgetBlob: (digest) => write("forgetBlob", digest),
    usage: async () => store().reads.usage(),

    createUpload: async (upload) => store().uploads.createUpload(upload),
    upload: async (id) => store().uploads.upload(id),
    touchUpload: async (id, now) => store().uploads.touchUpload(id, now),
    deleteUpload: async (id) => store().uploads.deleteUpload(id),
    idleUploads: async (before, limit) => store().uploads.idleUploads(before, limit),

    putImage: (put) => write("putImage", put),
    image: async (reference) => store().reads.image(reference),
    listImages: async (page) => store().reads.listImages(page),
    releaseImage: (release) => write("releaseImage", release),

    dueReviews: async (now, limit) => store().reads.dueReviews(now, limit),
    reviewBacklog: async () => store().reads.reviewBacklog(),
    postponeReview: (task, until) => write("postponeReview", task, until),
    reviewManifest: (task, rules) => write("reviewManifest", task, rules),
    beginBlobDeletion: (digest, rules) => write("beginBlobDeletion", digest, rules),
    finishBlobDeletion: (digest, generation) => write("finishBlobDeletion", digest, generation),
    deletingBlobs: async (limit) => store().reads.deletingBlobs(limit),
    sweep: (cursor, rules, limit) => write("sweep", cursor, rules, limit),
    previewCollection: (rules, limit) => write("previewCollection", rules, limit),
    evictManifest: (cursor, rules, limit) => write("evictManifest", cursor, rules, limit),
  };
}
