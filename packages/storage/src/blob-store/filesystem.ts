import { constants } from "node:fs";
import { access, mkdir, open, opendir, readdir, realpath, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  algorithmOf,
  DIGEST_ALGORITHMS,
  type Digest,
  type DigestAlgorithm,
  isDigest,
} from "@cache-registry/core/digest";
import { BlobMissingError, type BlobStore, type BlobWriter, type ByteRange, type ByteReader } from "./blob-store.ts";
import { errnoOf, isAbsent, storeError } from "./filesystem-errors.ts";
import { emptyFolder, listUploads, makeFolder, statFile } from "./filesystem-folders.ts";
import { createLayout, type Layout, MARKERS } from "./filesystem-layout.ts";
import { removeReplica, takeAway, trashName } from "./filesystem-shared.ts";
import { createFilesystemVolume } from "./filesystem-volume.ts";
import { type Destination, openFileWriter } from "./filesystem-writer.ts";
import { type FolderSync, openFolderSync } from "./folder-sync.ts";
import type { Volume } from "./volume.ts";

export type FilesystemOptions = {
  /** Root of the store; made when it is not there. */
  readonly path: string;
  /** Many replicas share the root: the id of this one. */
  readonly replica?: string | undefined;
};

const READ = constants.O_RDONLY | constants.O_NOFOLLOW;

async function writeMarkers(root: string): Promise<void> {
  for (const [name, content] of MARKERS) {
    await writeFile(join(root, name), content, { flag: "wx", mode: 0o600 }).catch((error: unknown) => {
      if (errnoOf(error) !== "EEXIST") throw error;
    });
  }
}

async function openReader(path: string, digest: Digest, range: ByteRange | undefined): Promise<ByteReader> {
  const file = await open(path, READ).catch((error: unknown) => {
    throw isAbsent(error) ? new BlobMissingError(digest) : storeError(error);
  });
  let position = range?.start ?? 0;
  const end = range?.end ?? Number.MAX_SAFE_INTEGER - 1;
  return {
    async read(buffer) {
      const length = Math.min(buffer.byteLength, end + 1 - position);
      if (length <= 0) return 0;
      const { bytesRead } = await file.read(buffer, 0, length, position).catch((error: unknown) => {
        throw storeError(error);
      });
      position += bytesRead;
      return bytesRead;
    },
    close: () => file.close(),
  };
}

async function* listBlobs(layout: Layout): AsyncGenerator<Digest> {
  for (const algorithm of DIGEST_ALGORITHMS) {
    for await (const entry of await opendir(layout.blobFolder(algorithm))) {
      const digest = `${algorithm}:${entry.name}`;
      if (entry.isFile() && isDigest(digest)) yield digest;
    }
  }
}

async function otherReplicas({ replicas }: Layout, own: string): Promise<string[]> {
  return (await readdir(replicas)).filter((name) => name !== own);
}

/**
 * Driver on a file system, for one process, or (with `replica`) for many that share it: `blobs/<algorithm>/<hex>`, `ingest/`
 * and `uploads/` for bytes on their way, `trash/` for bytes on their way out, `quarantine/` for damaged ones.
 * Errors: `CodedError` INSUFFICIENT_STORAGE when the disk is full, UNAVAILABLE when it does not work.
 */
export function createFilesystemBlobStore({ path, replica }: FilesystemOptions): BlobStore {
  let opened: Layout | undefined;
  let volume: Volume | undefined;
  let root = path;
  const folders = new Map<DigestAlgorithm, FolderSync>();

  function layout(): Layout {
    if (!opened) throw new Error("the blob store is not open");
    return opened;
  }

  function destination(digest: Digest): Destination {
    const folder = folders.get(algorithmOf(digest));
    if (!folder) throw new Error("the blob store is not open");
    return { path: layout().blob(digest), syncFolder: () => folder.sync() };
  }

  /** The folders may have gone: another replica takes this one for gone when it has not reached the database for long. */
  async function openWriter(kind: "ingest" | "upload", path: () => string): Promise<BlobWriter> {
    const open = () => openFileWriter({ path: path(), kind, destination });
    return open().catch(async (error: unknown) => {
      if (!isAbsent(error)) throw error;
      for (const folder of layout().folders) await makeFolder(folder);
      return open();
    });
  }

  return {
    async start() {
      // The root itself may be a link, to another disk for example; what lies below may not.
      await mkdir(path, { recursive: true, mode: 0o700 });
      root = await realpath(path);
      const starting = createLayout(root, replica);
      for (const folder of starting.folders) await makeFolder(folder);
      await writeMarkers(root);
      await emptyFolder(starting.ingest);
      await emptyFolder(starting.trash);
      for (const algorithm of DIGEST_ALGORITHMS) {
        folders.set(algorithm, await openFolderSync(starting.blobFolder(algorithm)));
      }
      // Of replicas that share a root, each has its own reserve.
      volume = await createFilesystemVolume(dirname(starting.ingest));
      opened = starting;
    },
    async close() {
      if (opened && replica !== undefined) await removeReplica(root, replica);
      opened = undefined;
      await Promise.all([...folders.values()].map((folder) => folder.close()));
      folders.clear();
    },
    volume: () => volume,

    async stat(digest) {
      const stat = await statFile(layout().blob(digest));
      return stat && { size: stat.size };
    },
    async probe() {
      const { folders } = layout();
      await Promise.all(folders.map((folder) => access(folder, constants.R_OK | constants.W_OK)));
    },
    publicPath: async (digest) => `blobs/${digest.replace(":", "/")}`,
    open: async (digest, range) => openReader(layout().blob(digest), digest, range),

    create: async () => openWriter("ingest", layout().newIngest),
    openUpload: async (id) => openWriter("upload", () => layout().upload(id)),
    async removeUpload(id) {
      await rm(layout().upload(id), { force: true });
    },

    async remove(digest, generation, confirm) {
      if (replica !== undefined) {
        const destination = (identity: string) => join(layout().trash, trashName(digest, generation, identity));
        const taken = await takeAway(layout().blob(digest), destination, confirm);
        if (taken !== undefined) await rm(taken, { force: true });
        return;
      }
      const trashed = layout().trashed(digest, generation);
      try {
        await rename(layout().blob(digest), trashed);
      } catch (error) {
        if (!isAbsent(error)) throw storeError(error);
      }
      // Also what an earlier call left that got no further than the rename.
      await rm(trashed, { force: true });
    },
    async quarantine(digest, confirm) {
      if (replica !== undefined) {
        await takeAway(layout().blob(digest), () => layout().quarantined(digest), confirm);
        return;
      }
      try {
        await rename(layout().blob(digest), layout().quarantined(digest));
      } catch (error) {
        if (!isAbsent(error)) throw storeError(error);
      }
    },
    async removeLeftovers(alive) {
      if (replica === undefined) return 0;
      const found = await otherReplicas(layout(), replica);
      const living = await alive();
      const gone = found.filter((id) => !living.has(id));
      for (const id of gone) await removeReplica(root, id);
      return gone.length;
    },
    list: () => listBlobs(layout()),
    listUploads: () => listUploads(layout().uploads),
  };
}
