import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { blobStoreConfig } from "./config.ts";
import { content, sha256, writeBlob } from "./conformance/fixtures.ts";
import { openBlobStore } from "./open.ts";
import { redirectOf } from "./redirect.ts";

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
    { redirect: "ftp://cdn.example.com" },
    { redirect: "https://id:secret@cdn.example.com" },
    { driver: "memory", redirect: "https://cdn.example.com" },
  ])("refuses %j", (value) => {
    expect(blobStoreConfig.safeParse(value).success).toBe(false);
  });

  it("needs a bucket for s3, and both files of the credentials or none", () => {
    const problems = (s3: unknown) =>
      blobStoreConfig.safeParse({ driver: "s3", s3 }).error?.issues.map(({ path }) => path.join("."));
    expect(problems(undefined)).toEqual(["s3.bucket"]);
    expect(problems({ bucket: "images" })).toBeUndefined();
    expect(problems({ bucket: "images", accessKeyIdFile: "id" })).toEqual(["s3.secretAccessKeyFile"]);
    expect(problems({ bucket: "images", sessionTokenFile: "token" })).toEqual(["s3.sessionTokenFile"]);
    for (const prefix of ["../up", "/root", "a//b", "a b", ".hidden"]) {
      expect(problems({ bucket: "images", prefix })).toEqual(["s3.prefix"]);
    }
    expect(problems({ bucket: "images", prefix: "cache-1/of_b.c/" })).toBeUndefined();
    expect(problems({ bucket: "images", endpoint: "https://id:secret@host" })).toEqual(["s3.endpoint"]);
  });

  it("does not start on s3 without credentials", async () => {
    const spool = await mkdtemp(join(tmpdir(), "blob-open-"));
    const config = blobStoreConfig.parse({ driver: "s3", s3: { bucket: "images", spool } });
    const store = await openBlobStore(config, { env: { AWS_EC2_METADATA_DISABLED: "true" } });
    await expect(store.start()).rejects.toThrow(/^storage\.blobs\.s3: no AWS credentials: none of AWS_ACCESS_KEY_ID/);
    await store.close();
    await rm(spool, { recursive: true });
  });

  it("needs a bucket for gcs, and one way to be known there", () => {
    const problems = (gcs: unknown) =>
      blobStoreConfig.safeParse({ driver: "gcs", gcs }).error?.issues.map(({ path }) => path.join("."));
    expect(problems(undefined)).toEqual(["gcs.bucket"]);
    expect(problems({ bucket: "images" })).toBeUndefined();
    expect(problems({ bucket: "images", anonymous: true, serviceAccountFile: "key" })).toEqual(["gcs.anonymous"]);
  });

  it("needs account and container for azure, and one way to be known there", () => {
    const problems = (azure: unknown, redirect: unknown = false) =>
      blobStoreConfig.safeParse({ driver: "azure", azure, redirect }).error?.issues.map(({ path }) => path.join("."));
    const location = { account: "images1", container: "oci" };
    expect(problems(undefined)).toEqual(["azure.account"]);
    expect(problems(location)).toBeUndefined();
    expect(problems({ ...location, account: "Images" })).toEqual(["azure.account"]);
    expect(problems({ ...location, container: "a--b" })).toEqual(["azure.container"]);
    expect(problems({ ...location, accountKeyFile: "k", sasTokenFile: "s" })).toEqual(["azure.sasTokenFile"]);
    expect(problems(location, "presigned")).toEqual(["redirect"]);
    expect(problems({ ...location, accountKeyFile: "k" }, "presigned")).toBeUndefined();
  });

  it("takes presigned for gcs only with a key file, also one that the environment names", async () => {
    const folder = await mkdtemp(join(tmpdir(), "blob-open-"));
    const file = join(folder, "key.json");
    const config = blobStoreConfig.parse({ driver: "gcs", gcs: { bucket: "images" }, redirect: "presigned" });
    const open = () => openBlobStore(config, { env: { GOOGLE_APPLICATION_CREDENTIALS: file } });
    await expect(openBlobStore(config, { env: {} })).rejects.toThrow("gcs.serviceAccountFile");
    await expect(open()).rejects.toThrow("cannot read the secret file");
    await writeFile(file, JSON.stringify({ type: "external_account" }));
    await expect(open()).rejects.toThrow("credentials that can sign");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = privateKey.export({ type: "pkcs8", format: "pem" });
    await writeFile(file, JSON.stringify({ type: "service_account", client_email: "a@b", private_key: key }));
    await (await open()).close();
    await rm(folder, { recursive: true });
  });

  it("sends clients to a base URL, below which are the keys", async () => {
    const redirected = async (blobs: object): Promise<string | undefined> => {
      const config = blobStoreConfig.parse({ ...blobs, redirect: "https://cdn.example.com/images/" });
      const store = await openBlobStore(config, { env: { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" } });
      return redirectOf(config.redirect, store)?.(sha256("x"));
    };
    const path = `blobs/sha256/${sha256("x").slice("sha256:".length)}`;
    expect(await redirected({})).toBe(`https://cdn.example.com/images/${path}`);
    const s3 = { bucket: "images", prefix: "cache-1" };
    expect(await redirected({ driver: "s3", s3 })).toBe(`https://cdn.example.com/images/cache-1/${path}`);
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
