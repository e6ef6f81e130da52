import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { S3_CREDENTIALS, type S3Server, startS3Server } from "../support/s3-server.ts";
import { digestOf, makeImage, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let s3: S3Server;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let started = 0;

beforeAll(async () => {
  [s3, upstream] = await Promise.all([startS3Server(), startUpstreamRegistry()]);
});
afterEach(() => registry?.dispose());
afterAll(async () => {
  await upstream?.dispose();
  await s3?.dispose();
});

/** On a prefix of its own. */
async function start(): Promise<void> {
  started += 1;
  registry = await startRegistryProcess({
    ...upstream.configuration(),
    storage: s3.storage(`registry-${started}`),
    log: { level: "debug", access: true },
  });
  api = createRegistryApi(registry.url);
}

describe("a registry whose object store is away", () => {
  const within = async (milliseconds: number, path: string): Promise<number> => {
    const began = performance.now();
    const { status } = await api.request("GET", path);
    expect(performance.now() - began).toBeLessThan(milliseconds);
    return status;
  };

  it("answers 5xx soon, forgets nothing, and is well when the store is back", async () => {
    await start();
    const image = makeImage([200_000]);
    await api.pushImage("away/app", "v1", image);
    const layer = image.blobs[1];
    const path = `away/app/blobs/${layer?.digest}`;
    await registry.stop();
    await registry.start();
    await s3.stop();
    try {
      expect(await within(4_000, path)).toBe(503);
      // Not 404: the manifest is not lost, only out of reach.
      expect(await within(4_000, "away/app/manifests/v1")).toBe(503);
      expect((await api.request("HEAD", path)).status).toBe(503);
      // Bytes can still be spooled; the acknowledgement needs the store.
      await expect(api.pushBlob("away/app", randomBlob(1_000))).rejects.toThrow("503");
      const answer = await fetch(`${registry.management}/api/v1/gc`, { method: "POST" });
      expect(answer.ok).toBe(false);
    } finally {
      await s3.start();
    }
    await expectPullable(api, "away/app", image);
    await api.pushImage("away/app", "v2", makeImage([1_000]));
    await fetch(`${registry.management}/api/v1/gc`, { method: "POST" });
    await expectPullable(api, "away/app", image);
    expect(registry.output()).toContain("object store");
    expect(registry.output()).not.toContain(S3_CREDENTIALS.secretAccessKey);
    expect(registry.output()).not.toMatch(/Signature=|AWS4-HMAC/);
  });

  it("answers 5xx when it hangs, and is well when it goes on", async () => {
    await start();
    const image = makeImage([1_000]);
    await api.pushImage("away/hang", "v1", image);
    s3.freeze();
    try {
      expect(await within(8_000, `away/hang/blobs/${image.blobs[1]?.digest}`)).toBe(503);
    } finally {
      s3.thaw();
    }
    await expectPullable(api, "away/hang", image);
  });

  it("passes a cold pull on to its client although it cannot store it", async () => {
    await start();
    const image = makeImage([2 * MiB]);
    await upstream.api.pushImage("s3/away", "v1", image);
    const name = `${UPSTREAM_NAME}/s3/away`;
    await api.get(`${name}/manifests/v1`);
    const url = `${registry.url}/v2/${name}/blobs/${image.blobs[1]?.digest}`;
    await s3.stop();
    try {
      expect(await download(url)).toMatchObject({ status: 200, digest: image.blobs[1]?.digest, cut: false });
    } finally {
      await s3.start();
    }
    await eventually(async () => expect(await readdir(join(registry.data, "spool", "ingest"))).toEqual([]));
    await expectPullable(api, name, image);
  });

  it("starts without it, and is well when it comes", async () => {
    await start();
    const image = makeImage([1_000]);
    await api.pushImage("away/start", "v1", image);
    await registry.stop();
    await s3.stop();
    try {
      // It lives and says what is wrong: nothing but pulls past it would help.
      await registry.start("livez");
      await eventually(async () => {
        expect(await (await fetch(`${registry.management}/readyz`)).text()).toContain("[-] blob store:");
        expect(await within(4_000, `away/start/blobs/${image.blobs[1]?.digest}`)).toBe(503);
      });
    } finally {
      await s3.start();
    }
    await eventually(async () => expect((await fetch(`${registry.management}/readyz`)).status).toBe(200));
    await expectPullable(api, "away/start", image);
  });

  it("goes on in the middle of a blob when the store is back in time", async () => {
    await start();
    const image = makeImage([60 * MiB]);
    await api.pushImage("away/middle", "v1", image);
    const layer = image.blobs[1];
    const response = await api.request("GET", `away/middle/blobs/${layer?.digest}`);
    const reader = response.body?.getReader();
    const chunks: Uint8Array[] = [];
    const first = await reader?.read();
    if (first?.value) chunks.push(first.value);
    await s3.stop();
    await s3.start();
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) chunks.push(next.value);
    expect(digestOf(Buffer.concat(chunks))).toBe(layer?.digest);
  });
});
