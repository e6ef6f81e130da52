import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { blobStoreConfig } from "./config.ts";
import { content, writeBlob } from "./conformance/fixtures.ts";
import { openBlobStore } from "./open.ts";

describe("blob store configuration", () => {
  it("is ./data on the file system unless said otherwise", () => {
    const filesystem = { driver: "filesystem", filesystem: { path: "./data" }, redirect: false };
    expect(blobStoreConfig.parse(undefined)).toEqual(filesystem);
    expect(blobStoreConfig.parse({ driver: "filesystem" })).toEqual(filesystem);
  });

  it.each([
    { driver: "floppy" },
    { path: "data" },
    { filesystem: { folder: "data" } },
    { redirect: "presigned" },
    { redirect: true },
  ])("refuses %j", (value) => {
    expect(blobStoreConfig.safeParse(value).success).toBe(false);
  });

  it("needs a bucket for s3, and both files of the credentials or none", () => {
    const problems = (s3: unknown) =>
      blobStoreConfig.safeParse({ driver: "s3", s3 }).error?.issues.map(({ path }) => path.join("."));
    expect(problems(undefined)).toEqual(["s3.bucket"]);
    expect(problems({ bucket: "images" })).toBeUndefined();
    expect(problems({ bucket: "images", accessKeyIdFile: "id" })).toEqual(["s3.secretAccessKeyFile"]);
    for (const prefix of ["../up", "/root", "a//b", "a b", ".hidden"]) {
      expect(problems({ bucket: "images", prefix })).toEqual(["s3.prefix"]);
    }
    expect(problems({ bucket: "images", prefix: "cache-1/of_b.c/" })).toBeUndefined();
    expect(problems({ bucket: "images", endpoint: "https://id:secret@host" })).toEqual(["s3.endpoint"]);
  });

  it("refuses s3 without credentials before anything starts", async () => {
    const config = blobStoreConfig.parse({ driver: "s3", s3: { bucket: "images" } });
    await expect(openBlobStore(config, { env: {} })).rejects.toThrow("AWS_ACCESS_KEY_ID");
    const env = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" };
    await (await openBlobStore(config, { env })).close();
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
