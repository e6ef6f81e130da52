import { constants } from "node:fs";
import { lstat, mkdir, mkdtemp, open, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hexOf } from "@cache-registry/core/digest";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { BlobMissingError, type BlobStore } from "./blob-store.ts";
import { content, listAll, readBlob, sha256, writeBlob } from "./conformance/fixtures.ts";
import { sharedBlobStoreConformance } from "./conformance/sharing.ts";
import { blobStoreConformance } from "./conformance.ts";
import { createFilesystemBlobStore } from "./filesystem.ts";
import { storeError } from "./filesystem-errors.ts";

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "blob-store-"));
  folders.push(folder);
  return folder;
}

async function openAt(path: string): Promise<BlobStore> {
  const store = createFilesystemBlobStore({ path });
  await store.start();
  return store;
}

blobStoreConformance("filesystem", async () => openAt(await newFolder()));
blobStoreConformance("filesystem shared by replicas", async () => {
  const store = createFilesystemBlobStore({ path: await newFolder(), replica: "one" });
  await store.start();
  return store;
});

let shared = "";
sharedBlobStoreConformance("filesystem", async (replica, anew) => {
  if (anew) shared = await newFolder();
  const store = createFilesystemBlobStore({ path: shared, replica });
  await store.start();
  return store;
});

describe("a disk that loses what it was given", () => {
  afterEach(() => vi.restoreAllMocks());

  it("is told once, so that nothing of it counts as written at the next attempt", async () => {
    const path = await newFolder();
    const store = await openAt(path);
    const bytes = content(10_000);
    const first = await store.openUpload("session");
    await first.write(bytes);
    const handle = await open(join(path, "uploads", "session"));
    const prototype = Object.getPrototypeOf(handle) as typeof handle;
    await handle.close();
    // As the kernel does it: the error comes with the first call, and is forgotten.
    vi.spyOn(prototype, "datasync").mockRejectedValueOnce(Object.assign(new Error("EIO"), { code: "EIO" }));
    await expect(first.commit(sha256(bytes))).rejects.toThrow("EIO");
    await first.close();
    const again = await store.openUpload("session");
    expect([first.size, again.size]).toEqual([0, 0]);
    await again.write(bytes);
    await again.commit(sha256(bytes));
    await again.close();
    expect(await readBlob(store, sha256(bytes))).toEqual(bytes);
    // Clients that read a fetch while it comes have a right to its bytes.
    const ingest = await store.create();
    await ingest.write(bytes);
    vi.spyOn(prototype, "datasync").mockRejectedValueOnce(Object.assign(new Error("EIO"), { code: "EIO" }));
    await expect(ingest.commit(sha256(bytes))).rejects.toThrow("EIO");
    expect(await ingest.readAt(Buffer.alloc(20_000), 0)).toBe(bytes.length);
    await ingest.close();
    await store.close();
  });
});

describe("filesystem blob store of many replicas", () => {
  it("gives back what a replica took by mistake when it died, and removes the rest of it", async () => {
    const path = await newFolder();
    const [dead, living] = ["dead", "living"].map((replica) => createFilesystemBlobStore({ path, replica }));
    if (!dead || !living) throw new Error("two stores");
    await dead.start();
    await living.start();
    const bytes = content(2_000, 3);
    const digest = await writeBlob(living, bytes);
    const doomed = await writeBlob(living, content(10));
    // Killed between the rename and the look at what was taken; and between that and the removal.
    const trash = join(path, "replicas", "dead", "trash");
    const file = (of: string) => join(path, "blobs", "sha256", of.slice("sha256:".length));
    await rename(file(digest), join(trash, `${digest.replace(":", "-")}.4.1-1`));
    const { ino, mtimeNs } = await lstat(file(doomed), { bigint: true });
    await rename(file(doomed), join(trash, `${doomed.replace(":", "-")}.4.${ino}-${mtimeNs}`));
    await (await dead.openUpload("session")).close();
    expect(await living.removeLeftovers?.(async () => new Set(["living"]))).toBe(1);
    expect((await readBlob(living, digest)).equals(bytes)).toBe(true);
    expect(await living.stat(doomed)).toBeUndefined();
    expect(await readdir(join(path, "replicas"))).toEqual(["living"]);
    await living.close();
    expect(await readdir(join(path, "replicas"))).toEqual([]);
  });

  it("go on when another took them for gone", async () => {
    const path = await newFolder();
    const store = createFilesystemBlobStore({ path, replica: "cut-off" });
    await store.start();
    await rm(join(path, "replicas", "cut-off"), { recursive: true });
    const digest = await writeBlob(store, content(100));
    expect(await store.stat(digest)).toEqual({ size: 100 });
    await rm(join(path, "replicas", "cut-off"), { recursive: true });
    await (await store.openUpload("session")).close();
    await store.close();
  });
});

describe("filesystem blob store", () => {
  it("is an OCI image layout, for its owner only", async () => {
    const path = join(await newFolder(), "deep", "data");
    const store = await openAt(path);
    const bytes = content(1_000);
    const digest = await writeBlob(store, bytes);
    expect((await readFile(join(path, "blobs", "sha256", hexOf(digest)))).equals(bytes)).toBe(true);
    expect(JSON.parse(await readFile(join(path, "oci-layout"), "utf8"))).toEqual({ imageLayoutVersion: "1.0.0" });
    expect(JSON.parse(await readFile(join(path, "index.json"), "utf8"))).toMatchObject({
      schemaVersion: 2,
      manifests: [],
    });
    expect((await lstat(path)).mode & 0o777).toBe(0o700);
    expect((await lstat(join(path, "blobs", "sha256", hexOf(digest)))).mode & 0o777).toBe(0o600);
  });

  it("keeps blobs and uploads over a restart, and throws away what only the process knew", async () => {
    const path = await newFolder();
    const first = await openAt(path);
    const bytes = content(2_000);
    const digest = await writeBlob(first, bytes);
    const upload = await first.openUpload("session");
    await upload.write(bytes.subarray(0, 500));
    const lost = await first.create();
    await lost.write(bytes);
    await writeFile(join(path, "trash", "left.3"), "bytes of a removal that a crash cut short");
    expect(await readdir(join(path, "ingest"))).toHaveLength(1);

    const second = await openAt(path);
    expect(await readdir(join(path, "ingest"))).toEqual([]);
    expect(await readdir(join(path, "trash"))).toEqual([]);
    expect((await readBlob(second, digest)).equals(bytes)).toBe(true);
    const resumed = await second.openUpload("session");
    expect(resumed.size).toBe(500);
    for (const writer of [resumed, upload, lost]) await writer.close();
  });

  it("leaves no file of a writer that was closed or removed", async () => {
    const path = await newFolder();
    const store = await openAt(path);
    const writer = await store.create();
    await writer.write(content(100));
    await writer.close();
    await store.remove(await writeBlob(store, content(100)), 4);
    for (const folder of ["ingest", "trash", "uploads", "blobs/sha256"]) {
      expect(await readdir(join(path, folder))).toEqual([]);
    }
  });

  it("keeps what is quarantined, over a restart, as often as it happens", async () => {
    const path = await newFolder();
    const store = await openAt(path);
    for (let round = 0; round < 2; round++) await store.quarantine?.(await writeBlob(store, content(100)));
    await openAt(path);
    const kept = await readdir(join(path, "quarantine"));
    expect(kept).toEqual([1, 2].map(() => expect.stringContaining(`sha256-${hexOf(sha256(content(100)))}.`)));
  });

  it("follows no symbolic link out of its folder", async () => {
    const path = await newFolder();
    const store = await openAt(path);
    const outside = join(await newFolder(), "secret");
    await writeFile(outside, "secret");
    const digest = sha256("secret");
    await symlink(outside, join(path, "blobs", "sha256", hexOf(digest)));
    await symlink(outside, join(path, "uploads", "session"));

    expect(await store.stat(digest)).toBeUndefined();
    await expect(store.open(digest)).rejects.toThrow(BlobMissingError);
    await expect(store.openUpload("session")).rejects.toThrow("ELOOP");
    expect(await listAll(store.list())).toEqual([]);
    expect(await listAll(store.listUploads())).toEqual([]);
    await store.remove(digest, 1);
    await store.removeUpload("session");
    expect(await readFile(outside, "utf8")).toBe("secret");
  });

  it("does not start when one of its folders is a symbolic link", async () => {
    const path = await newFolder();
    await symlink(await newFolder(), join(path, "uploads"));
    await expect(openAt(path)).rejects.toThrow("uploads must be a folder, and no symbolic link");
  });

  it("starts when the data folder itself is a link", async () => {
    const target = await newFolder();
    const link = join(await newFolder(), "data");
    await symlink(target, link);
    await writeBlob(await openAt(link), content(10));
    expect(await readdir(join(target, "blobs", "sha256"))).toHaveLength(1);
  });

  it("ignores strange files among the blobs", async () => {
    const path = await newFolder();
    const store = await openAt(path);
    await writeFile(join(path, "blobs", "sha256", "README"), "?");
    await mkdir(join(path, "blobs", "sha256", "0".repeat(64)));
    expect(await listAll(store.list())).toEqual([]);
  });

  it("calls a full disk by its name", async () => {
    // /dev/full answers every write with ENOSPC (full(4)).
    const full = await open("/dev/full", constants.O_WRONLY);
    const failure = await full.write("x").then(
      () => undefined,
      (error: unknown) => storeError(error),
    );
    await full.close();
    expect(failure).toMatchObject({ code: "INSUFFICIENT_STORAGE", status: 507 });
  });
});
