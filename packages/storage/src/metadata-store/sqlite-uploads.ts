import type { UploadRecord, UploadStore } from "./metadata-store.ts";

export type SqliteUploads = UploadStore & {
  /** Writes what has changed. @throws the first failure; what failed is tried again with the next change */
  flush(): Promise<void>;
};

export type SqliteUploadsDeps = {
  readonly read: Pick<UploadStore, "upload" | "idleUploads">;
  readonly write: Pick<UploadStore, "createUpload" | "touchUpload" | "deleteUpload">;
  /** Milliseconds until a change is written. */
  readonly delay?: number;
};

/** What the table does not say yet. `isNew`: it has no row; `record` undefined: the row is to go. */
type Change = { readonly record: UploadRecord | undefined; readonly isNew: boolean };

const DEFAULT_DELAY_MS = 250;
/** More sessions than this wait for the disk. */
const MAX_PENDING = 10_000;

/**
 * Upload sessions are written behind: most of them begin and end before their row would be on disk, and are never written. A
 * session that a crash takes away is unknown afterwards, its file is swept, and the client begins anew; nothing was promised
 * before the blob is linked. A process that ends orderly writes them all.
 */
export function createSqliteUploads({ read, write, delay = DEFAULT_DELAY_MS }: SqliteUploadsDeps): SqliteUploads {
  const pending = new Map<string, Change>();
  /** On their way to the table. */
  const sending = new Map<string, Change>();
  let timer: NodeJS.Timeout | undefined;
  let flushing: Promise<void> | undefined;

  async function find(id: string): Promise<UploadRecord | undefined> {
    const change = pending.get(id) ?? sending.get(id);
    return change ? change.record : read.upload(id);
  }

  function change(id: string, next: Change): void {
    pending.set(id, next);
    timer ??= setTimeout(() => {
      timer = undefined;
      flush().catch(() => undefined);
    }, delay);
  }

  async function send(id: string, { record, isNew }: Change): Promise<void> {
    if (!record) await write.deleteUpload(id);
    else if (isNew) await write.createUpload(record);
    else await write.touchUpload(id, record.touchedAt);
  }

  /** A change that failed is pending again, below what came meanwhile. */
  function putBack(id: string, failed: Change): void {
    const later = pending.get(id);
    if (!later) change(id, failed);
    else if (failed.isNew && !later.record) pending.delete(id);
    else if (failed.isNew) pending.set(id, { ...later, isNew: true });
  }

  async function sendAll(): Promise<void> {
    for (const [id, each] of pending) sending.set(id, each);
    pending.clear();
    // Sent together, they share a transaction.
    const results = await Promise.allSettled(
      [...sending].map(async ([id, each]) => {
        try {
          await send(id, each);
        } catch (error) {
          putBack(id, each);
          throw error;
        }
      }),
    );
    sending.clear();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async function flush(): Promise<void> {
    while (flushing) await flushing.catch(() => undefined);
    if (pending.size === 0) return;
    clearTimeout(timer);
    timer = undefined;
    flushing = sendAll().finally(() => {
      flushing = undefined;
    });
    await flushing;
  }

  return {
    flush,
    async createUpload(upload) {
      // The row that is to go would be in the way.
      if (pending.size >= MAX_PENDING || pending.has(upload.id)) await flush();
      if (await find(upload.id)) throw new Error(`upload session ${upload.id} is there already`);
      change(upload.id, { record: upload, isNew: true });
    },
    upload: find,
    async touchUpload(id, now) {
      const record = await find(id);
      if (!record) return;
      const touched = { ...record, touchedAt: Math.max(record.touchedAt, now) };
      change(id, { record: touched, isNew: pending.get(id)?.isNew ?? false });
    },
    async deleteUpload(id) {
      if (!(await find(id))) return false;
      if (pending.get(id)?.isNew) pending.delete(id);
      else change(id, { record: undefined, isNew: false });
      return true;
    },
    async idleUploads(before, limit) {
      // With a full disk the rows that are there can still be looked at.
      await flush().catch(() => undefined);
      return read.idleUploads(before, limit);
    },
  };
}
