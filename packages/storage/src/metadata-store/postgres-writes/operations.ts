import type { BlobRecord, MetadataStore } from "../metadata-store.ts";
import type { Database } from "../postgres/database.ts";
import type { Session } from "../postgres/statement.ts";
import type { Operations } from "../sqlite-writes/operations.ts";
import { beginDeletion, finishDeletion, forgetBlob, linkBlob, touchBlobs, unlinkBlob } from "./blobs.ts";
import { foldCounters } from "./counters.ts";
import { evictManifest } from "./evict.ts";
import { putImage, releaseImage } from "./images.ts";
import { deleteManifest, putManifest, putReferrersAnswer, recordPulls } from "./manifests.ts";
import { previewCollection } from "./preview.ts";
import { reviewLater } from "./queue.ts";
import { lockRepository } from "./repositories.ts";
import { reviewManifest } from "./review-manifest.ts";
import { sweep } from "./sweep.ts";
import { markTag, removeTag } from "./tags.ts";
import { createUpload, deleteUpload, touchUpload } from "./uploads.ts";

export type Writes = Pick<MetadataStore, keyof Operations>;

/** After so many writes of this process the changes of the counters are folded. */
const FOLD_EVERY = 500;
/** Entries of a batch that go in one transaction: it has the locks of all their repositories. */
const BATCH = 1_000;

type Deps = Pick<Database, "transaction" | "statement"> & {
  readonly grace: number;
  /** Hears of each blob that was linked in a repository. */
  readonly onLinked: (repository: string, blob: BlobRecord) => void;
};

/** Every write of the port, each one transaction (batches: one for each thousand). ADR 0017 says which locks it takes. */
export function createWrites({ transaction, statement, grace, onLinked }: Deps): Writes {
  let written = 0;

  async function write<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    const result = await transaction(work);
    written += 1;
    // What is not folded now is folded later.
    if (written % FOLD_EVERY === 0) statement(foldCounters).catch(() => undefined);
    return result;
  }

  async function inBatches<Entry>(
    entries: readonly Entry[],
    work: (session: Session, batch: readonly Entry[]) => Promise<void>,
  ): Promise<void> {
    for (let start = 0; start < entries.length; start += BATCH) {
      const batch = entries.slice(start, start + BATCH);
      await write((session) => work(session, batch));
    }
  }

  return {
    putManifest: (put) => write((session) => putManifest(session, grace, put)),
    putReferrersAnswer: (...answer) => statement((session) => putReferrersAnswer(session, ...answer)),
    deleteManifest: (repository, digest, now) =>
      write((session) => deleteManifest(session, grace, { repository, digest, now })),
    markTag: (...mark) => statement((session) => markTag(session, ...mark)),
    deleteTag: (repository, name, now) =>
      write(async (session) => {
        const row = await lockRepository(session, repository);
        return row !== undefined && removeTag(session, row.id, name, { event: "tag_deleted", now, grace });
      }),
    recordPulls: (pulls) => inBatches(pulls, recordPulls),
    async linkBlob(link) {
      const blob = await write((session) => linkBlob(session, grace, link));
      if (blob) onLinked(link.repository.name, blob);
      return blob !== undefined;
    },
    unlinkBlob: (repository, digest, now) =>
      write((session) => unlinkBlob(session, grace, { repository, digest, now })),
    touchBlobs: (touches) => inBatches(touches, touchBlobs),
    async forgetBlob(digest) {
      // Again when a link came meanwhile; whoever forgets a blob has its digest lock, so few can come.
      for (let attempt = 0; attempt < 10; attempt++) {
        if (await write((session) => forgetBlob(session, digest))) return;
      }
      throw new Error(`blob ${digest} is linked faster than it can be forgotten`);
    },
    createUpload: (upload) => statement((session) => createUpload(session, upload)),
    touchUpload: (id, now) => statement((session) => touchUpload(session, id, now)),
    deleteUpload: (id) => statement((session) => deleteUpload(session, id)),
    putImage: (put) => write((session) => putImage(session, put)),
    releaseImage: (release) => write((session) => releaseImage(session, grace, release)),
    reviewManifest: (task, rules) => write((session) => reviewManifest(session, task, rules)),
    postponeReview: (task, until) => statement((session) => reviewLater(session, task, until)),
    beginBlobDeletion: (digest, rules) => write((session) => beginDeletion(session, digest, rules)),
    finishBlobDeletion: (digest, generation) => statement((session) => finishDeletion(session, digest, generation)),
    sweep: (cursor, rules, limit) => write((session) => sweep(session, cursor, { rules, limit, grace })),
    previewCollection: (rules, limit) => transaction((session) => previewCollection(session, { rules, limit, grace })),
    evictManifest: (cursor, rules, limit) => write((session) => evictManifest(session, cursor, { rules, limit })),
  };
}
