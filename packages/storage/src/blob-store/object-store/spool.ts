import { mkdir, realpath, rm } from "node:fs/promises";
import type { BlobWriter } from "../blob-store.ts";
import { emptyFolder, listUploads, makeFolder } from "../filesystem-folders.ts";
import { createLayout, type Layout } from "../filesystem-layout.ts";
import { openFileWriter } from "../filesystem-writer.ts";

/** A temporary file and its writer. It is never committed: whoever moved its bytes elsewhere removes it. */
export type Spooled = { readonly path: string; readonly spooled: BlobWriter };

/** The local folder where stores that are elsewhere keep bytes on their way: `ingest/` and `uploads/`, for one process. */
export type Spool = {
  /** What an earlier process left of `create` is gone then. */
  start(): Promise<void>;
  create(): Promise<Spooled>;
  /** @throws CodedError BLOB_UPLOAD_UNKNOWN */
  openUpload(id: string): Promise<Spooled>;
  removeUpload(id: string): Promise<void>;
  listUploads(): AsyncIterable<{ readonly id: string; readonly modifiedAt: number }>;
};

export function createSpool(path: string): Spool {
  let opened: Layout | undefined;
  function layout(): Layout {
    if (!opened) throw new Error("the blob store is not open");
    return opened;
  }
  function destination(): never {
    throw new Error("a spooled file is not committed where it is");
  }
  async function open(file: string, kind: "ingest" | "upload"): Promise<Spooled> {
    return { path: file, spooled: await openFileWriter({ path: file, kind, destination }) };
  }
  return {
    async start() {
      await mkdir(path, { recursive: true, mode: 0o700 });
      const starting = createLayout(await realpath(path));
      await makeFolder(starting.ingest);
      await makeFolder(starting.uploads);
      await emptyFolder(starting.ingest);
      opened = starting;
    },
    create: async () => open(layout().newIngest(), "ingest"),
    openUpload: async (id) => open(layout().upload(id), "upload"),
    async removeUpload(id) {
      await rm(layout().upload(id), { force: true });
    },
    listUploads: () => listUploads(layout().uploads),
  };
}
