import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { blobStoreConfig } from "./config.ts";
import { content, writeBlob } from "./conformance/fixtures.ts";
import { openBlobStore } from "./open.ts";

describe("blob store configuration", () => {
  it("is ./data on the file system unless said otherwise", () => {
    const filesystem = { driver: "filesystem", filesystem: { path: "./data" } };
    expect(blobStoreConfig.parse(undefined)).toEqual(filesystem);
    expect(blobStoreConfig.parse({ driver: "filesystem" })).toEqual(filesystem);
  });

  it.each([{ driver: "floppy" }, { path: "data" }, { filesystem: { folder: "data" } }])("refuses %j", (value) => {
    expect(blobStoreConfig.safeParse(value).success).toBe(false);
  });

  it("opens the configured driver", async () => {
    const folder = await mkdtemp(join(tmpdir(), "blob-open-"));
    const onDisk = await openBlobStore(blobStoreConfig.parse({ filesystem: { path: folder } }));
    await onDisk.start();
    await writeBlob(onDisk, content(10));
    expect(await readdir(join(folder, "blobs", "sha256"))).toHaveLength(1);
    const inMemory = await openBlobStore(blobStoreConfig.parse({ driver: "memory" }));
    await inMemory.start();
    expect(await inMemory.stat(await writeBlob(inMemory, content(10)))).toEqual({ size: 10 });
    await rm(folder, { recursive: true });
  });
});
