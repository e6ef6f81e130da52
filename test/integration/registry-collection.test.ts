import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Blob, type Image, makeImage, makeIndex, randomBlob } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let secrets: string;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  secrets = await mkdtemp(join(tmpdir(), "creg-token-"));
  await writeFile(join(secrets, "token"), "the-token\n");
  registry = await startRegistryProcess({
    ...upstream.configuration(),
    gc: { grace: "1s", untagged: { local: "delete", after: "1s" } },
    management: { tokenFile: join(secrets, "token") },
  });
  api = createRegistryApi(registry.url);
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
  await rm(secrets, { recursive: true, force: true });
});

const isOnDisk = async ({ digest }: Pick<Blob, "digest">): Promise<boolean> =>
  (await stat(join(registry.data, "blobs", ...digest.split(":"))).catch(() => undefined)) !== undefined;

function contentsOf(image: Image): Pick<Blob, "digest">[] {
  return [image.manifest, ...image.blobs];
}

async function expectGone(contents: readonly Pick<Blob, "digest">[]): Promise<void> {
  await eventually(async () => {
    for (const content of contents) expect([content.digest, await isOnDisk(content)]).toEqual([content.digest, false]);
  });
}

async function expectThere(contents: readonly Pick<Blob, "digest">[]): Promise<void> {
  for (const content of contents) expect([content.digest, await isOnDisk(content)]).toEqual([content.digest, true]);
}

async function manage(method: string, path: string, body?: object, token = "the-token"): Promise<Response> {
  return fetch(`${registry.management}/api/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body ? { "content-type": "application/json" } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
}

type Description = {
  state: string;
  progress: number;
  size: number;
  cachedBytes: number;
  digest: string;
  error?: string;
};
const imagePath = (reference: string) => `images/${encodeURIComponent(reference)}`;
const describeImage = async (reference: string) =>
  (await (await manage("GET", imagePath(reference))).json()) as Description;
const whenReady = (reference: string) =>
  eventually(async () => {
    const description = await describeImage(reference);
    expect(description).toMatchObject({ state: "ready", progress: 100 });
    return description;
  });

describe("garbage collection", () => {
  it("gives the bytes of a deleted tag back, and nobody else notices", async () => {
    const shared = randomBlob(200_000);
    const [doomed, kept] = [makeImage([shared, 300_000]), makeImage([shared, 100_000])];
    await api.pushImage("gc/doomed", "v1", doomed);
    await api.pushImage("gc/kept", "v1", kept);

    let going = true;
    let rounds = 0;
    const others = (async () => {
      while (going) {
        const image = makeImage([50_000]);
        await api.pushImage("gc/busy", `v${rounds % 3}`, image);
        for (const { digest, bytes } of image.blobs) {
          expect((await api.get(`gc/busy/blobs/${digest}`)).equals(bytes)).toBe(true);
        }
        rounds += 1;
      }
    })();
    expect((await api.request("DELETE", "gc/doomed/manifests/v1")).status).toBe(202);
    await expectThere(contentsOf(doomed));
    const [config, , own] = doomed.blobs;
    if (!config || !own) throw new Error("the image has a config and two layers");
    await expectGone([doomed.manifest, config, own]);
    going = false;
    await others;
    expect(rounds).toBeGreaterThan(3);
    await expectThere(contentsOf(kept));
    expect(await api.get(`gc/kept/blobs/${shared.digest}`)).toEqual(shared.bytes);
    expect((await api.request("GET", `gc/doomed/blobs/${own.digest}`)).status).toBe(404);
    await eventually(async () => expect(await readdir(join(registry.data, "trash"))).toEqual([]));
  });

  it("takes the children with their index", async () => {
    const index = makeIndex({ amd64: makeImage([10_000]), arm64: makeImage([10_000]) });
    await api.pushImage("gc/index", "v1", index);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await expectThere(index.images.flatMap(contentsOf));
    await api.request("DELETE", "gc/index/manifests/v1");
    await expectGone([index.manifest, ...index.images.flatMap(contentsOf)]);
  });

  it("lets the same content be pushed again while it is collected", { timeout: 60_000 }, async () => {
    const image = makeImage([100_000, 50_000]);
    for (let round = 0; round < 5; round += 1) {
      await api.pushImage("gc/again", "v1", image);
      await api.request("DELETE", "gc/again/manifests/v1");
      // The moment at which its grace ends.
      await new Promise((resolve) => setTimeout(resolve, 700 + Math.random() * 1_500));
      // As clients do: what is there is not sent again.
      for (const blob of image.blobs) {
        const head = await api.request("HEAD", `gc/again/blobs/${blob.digest}`);
        if (head.status === 404) await api.pushBlob("gc/again", blob);
      }
      expect((await api.putManifest("gc/again", "v1", image.manifest)).status).toBe(201);
      for (const { digest, bytes } of image.blobs) {
        expect((await api.get(`gc/again/blobs/${digest}`)).equals(bytes)).toBe(true);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await expectThere(contentsOf(image));
  });

  it("leaves blobs that were pushed for a manifest alone until their grace is over", async () => {
    const blob = randomBlob(10_000);
    await api.pushBlob("gc/loose", blob);
    await expectThere([blob]);
    await expectGone([blob]);
  });
});

describe("a collection on request", () => {
  type Report = { dryRun: boolean; removed: { kind: string; digest?: string; reason: string }[]; freedBytes: number };
  const report = async (method: string, path: string, body?: object) =>
    (await (await manage(method, path, body)).json()) as Report;

  it("tells first what would go and why, and takes it only when told to", async () => {
    const slow = await startRegistryProcess({ gc: { grace: "2s", schedule: "0 0 1 1 *" }, uploads: { idle: "0s" } });
    try {
      const slowApi = createRegistryApi(slow.url);
      const ask = async (method: string, query = "") =>
        (await (await fetch(`${slow.management}/api/v1/gc${query}`, { method })).json()) as Report;
      const image = makeImage([50_000]);
      await slowApi.pushImage("dry/run", "v1", image);
      await slowApi.request("POST", "dry/run/blobs/uploads/");
      expect((await fetch(`${slow.management}/api/v1/gc`)).status).toBe(404);
      await slowApi.request("DELETE", `dry/run/manifests/${image.manifest.digest}`);
      expect(await ask("POST", "?dryRun=true")).toMatchObject({ dryRun: true, removedBlobs: 0, purgedUploads: 1 });
      expect(await ask("GET")).toMatchObject({ dryRun: true });
      expect((await slowApi.request("GET", "dry/run/blobs/uploads/x")).status).toBe(404);
    } finally {
      await slow.dispose();
    }
  });

  it("names what went, with the event that made it a candidate", async () => {
    expect((await manage("POST", "gc?dryRun=maybe")).status).toBe(400);
    expect((await manage("POST", "gc", { surprise: true })).status).toBe(400);
    expect(await report("POST", "gc", { dryRun: true })).toMatchObject({ dryRun: true });
    const done = await report("POST", "gc");
    expect(done.dryRun).toBe(false);
    expect(await report("GET", "gc")).toEqual(done);
  });

  it("takes what a moved tag left, and upload sessions that nobody continued", async () => {
    const idle = await startRegistryProcess({
      gc: { grace: "1s", untagged: { local: "delete", after: "1s" } },
      uploads: { idle: "1s" },
    });
    try {
      const idleApi = createRegistryApi(idle.url);
      const there = async (digest: string) =>
        (await stat(join(idle.data, "blobs", ...digest.split(":"))).catch(() => undefined)) !== undefined;
      const [old, current] = [makeImage([20_000]), makeImage([20_000])];
      await idleApi.pushImage("moved/app", "v1", old);
      await idleApi.pushImage("moved/app", "v1", current);
      const begun = await idleApi.request("POST", "moved/app/blobs/uploads/");
      const location = begun.headers.get("location") ?? "";
      const patched = await idleApi.request("PATCH", location, { body: Buffer.alloc(1_000) });
      expect(patched.status).toBe(202);
      await eventually(async () => {
        for (const { digest } of contentsOf(old)) expect(await there(digest)).toBe(false);
      });
      for (const { digest } of contentsOf(current)) expect(await there(digest)).toBe(true);
      await eventually(async () => {
        await fetch(`${idle.management}/api/v1/gc`, { method: "POST" });
        expect(await readdir(join(idle.data, "uploads"))).toEqual([]);
      });
      expect((await idleApi.request("GET", patched.headers.get("location") ?? "")).status).toBe(404);
    } finally {
      await idle.dispose();
    }
  });
});

describe("management API", () => {
  it("needs the token", async () => {
    for (const token of ["", "wrong", "the-tokem"]) {
      for (const [method, path] of [
        ["GET", "stats"],
        ["GET", "images"],
        ["PUT", imagePath("alpine")],
        ["POST", "gc"],
      ] as const) {
        expect((await manage(method, path, undefined, token)).status).toBe(401);
      }
    }
    expect((await fetch(`${registry.management}/readyz`)).status).toBe(200);
  });

  it("warms an image for the wanted platforms and tells its progress", async () => {
    const index = makeIndex({ amd64: makeImage([6 * MiB]), s390x: makeImage([MiB]) });
    await upstream.api.pushImage("warm/app", "v1", index);
    upstream.proxy.throttle(4e6);
    const reference = `${UPSTREAM_NAME}/warm/app:v1`;
    const wanted = await manage("PUT", imagePath(reference), { owner: "cluster-a", platforms: ["linux/amd64"] });
    expect(wanted.status).toBe(202);
    const seen = new Set<number>();
    await eventually(async () => {
      const { state, progress } = await describeImage(reference);
      seen.add(progress);
      expect(state).toBe("ready");
    });
    upstream.proxy.throttle(undefined);
    expect(seen.size).toBeGreaterThan(3);
    const [amd64, s390x] = index.images;
    if (!amd64 || !s390x) throw new Error("the index has two images");
    const size = amd64.blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(await whenReady(reference)).toMatchObject({ digest: index.manifest.digest, size, cachedBytes: size });
    await expectThere(contentsOf(amd64));
    for (const content of contentsOf(s390x)) expect(await isOnDisk(content)).toBe(false);
    const listed = (await (await manage("GET", "images?owner=cluster-a")).json()) as { images: object[] };
    expect(listed.images).toMatchObject([{ reference, owners: ["cluster-a"] }]);
  });

  it("keeps an image while an owner wants it and gives it back after the last one", async () => {
    const image = makeImage([MiB]);
    await upstream.api.pushImage("owned/app", "v1", image);
    const reference = `${UPSTREAM_NAME}/owned/app:v1`;
    for (const owner of ["one", "two"]) await manage("PUT", imagePath(reference), { owner, pin: true });
    await whenReady(reference);
    expect((await manage("DELETE", `${imagePath(reference)}?owner=one`)).status).toBe(204);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await expectThere(contentsOf(image));
    expect((await manage("DELETE", `${imagePath(reference)}?owner=two`)).status).toBe(204);
    await expectGone(contentsOf(image));
    expect((await manage("GET", imagePath(reference))).status).toBe(404);
    // It comes back when it is asked for.
    expect(await api.get(`${UPSTREAM_NAME}/owned/app/manifests/v1`)).toEqual(image.manifest.bytes);
  });

  it("says why an image cannot be warmed", async () => {
    const missing = `${UPSTREAM_NAME}/warm/nothing:v1`;
    await manage("PUT", imagePath(missing), {});
    await eventually(async () => {
      const { state, error } = await describeImage(missing);
      expect(state).toBe("failed");
      expect(error).toContain("not found");
    });
    expect((await manage("GET", imagePath(`${UPSTREAM_NAME}/never/asked:v1`))).status).toBe(404);
    expect((await manage("PUT", imagePath("UPPER CASE"), {})).status).toBe(400);
    expect((await manage("PUT", imagePath("alpine"), { surprise: 1 })).status).toBe(400);
    expect((await manage("PUT", imagePath("alpine"), { platforms: ["nonsense"] })).status).toBe(400);
    expect((await manage("GET", "images?n=x")).status).toBe(400);
  });

  it("counts what is there", async () => {
    const before = (await (await manage("GET", "stats")).json()) as { blobs: number; bytes: number; startedAt: string };
    const image = makeImage([123_456]);
    await api.pushImage("stats/app", "v1", image);
    const after = (await (await manage("GET", "stats")).json()) as typeof before;
    expect(after.bytes - before.bytes).toBeGreaterThan(100_000);
    expect(after.startedAt).toBe(before.startedAt);
    const report = (await (await manage("POST", "gc")).json()) as object;
    expect(Object.keys(report)).toEqual(expect.arrayContaining(["removedManifests", "removedBlobs", "freedBytes"]));
  });
});
