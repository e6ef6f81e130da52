import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createRandom } from "@cache-registry/core/testing/seeded-random";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Blob, type Image, makeImage, makeIndex, randomBlob } from "../support/test-content.ts";

const OPERATIONS = Number(process.env.CREG_SOAK_OPERATIONS ?? 1_000);
const SEED = Number(process.env.CREG_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
const WORKERS = 8;
/** Milliseconds for which the registry keeps what nothing refers to. */
const KEPT = 2_000;
/** Of each worker, so that it knows what must be there; blobs are shared by all of them. */
const REPOSITORIES = 3;
const TAGS = 4;

let registry: RegistryProcess;
let api: RegistryApi;
beforeAll(async () => {
  registry = await startRegistryProcess({
    gc: { grace: `${KEPT}ms`, untagged: { local: "delete", after: `${KEPT}ms` } },
  });
  api = createRegistryApi(registry.url);
});
afterAll(() => registry?.dispose());

function randomOf(seed: number): () => number {
  const random = createRandom(seed);
  return () => random.below(2 ** 30) / 2 ** 30;
}

type Tagged = { readonly images: readonly Image[]; readonly manifest: Image["manifest"] };

/** One client, with repositories that nobody else writes to: what it pushed and did not delete must be there. */
function createWorker(id: number, random: () => number, shared: readonly Blob[]) {
  const tags = new Map<string, Tagged>();
  const pick = <Value>(values: readonly Value[]): Value => values[Math.floor(random() * values.length)] as Value;
  const repositoryOf = () => `random/w${id}-r${Math.floor(random() * REPOSITORIES)}`;
  const keyOf = () => `${repositoryOf()}:t${Math.floor(random() * TAGS)}`;
  const split = (key: string) => key.split(":") as [string, string];

  /** As clients do: what is there is not sent again, what another repository has is mounted. */
  async function bring(repository: string, blob: Blob): Promise<void> {
    const head = await api.request("HEAD", `${repository}/blobs/${blob.digest}`);
    if (head.status === 200) return;
    const from = `random/w${Math.floor(random() * WORKERS)}-r0`;
    const mount = await api.request("POST", `${repository}/blobs/uploads/?mount=${blob.digest}&from=${from}`);
    await mount.arrayBuffer();
    if (mount.status === 201) return;
    await api.pushBlob(repository, blob);
  }

  async function pushImage(repository: string, reference: string, image: Image): Promise<void> {
    for (const blob of image.blobs) await bring(repository, blob);
    const answer = await api.putManifest(repository, reference, image.manifest);
    expect([answer.status, reference]).toEqual([201, reference]);
  }

  /** What came first is kept only for so long: where the machine stalls, a client has to begin again. */
  async function inTime(task: () => Promise<void>): Promise<void> {
    for (;;) {
      const begun = performance.now();
      const failure = await task().then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (performance.now() - begun > 0.8 * KEPT) continue;
      if (failure) throw failure.error;
      return;
    }
  }

  async function push(): Promise<void> {
    const key = keyOf();
    const [repository, tag] = split(key);
    const image = () => makeImage([pick(shared), Math.floor(random() * 20_000) + 1]);
    if (random() < 0.3) {
      const index = makeIndex({ amd64: image(), arm64: image() });
      await inTime(async () => {
        for (const child of index.images) await pushImage(repository, child.manifest.digest, child);
        expect((await api.putManifest(repository, tag, index.manifest)).status).toBe(201);
      });
      tags.set(key, { images: index.images, manifest: index.manifest });
      return;
    }
    const single = image();
    await inTime(() => pushImage(repository, tag, single));
    tags.set(key, { images: [single], manifest: single.manifest });
  }

  async function verify(key: string): Promise<void> {
    const tagged = tags.get(key);
    if (!tagged) return;
    const [repository, tag] = split(key);
    expect((await api.get(`${repository}/manifests/${tag}`)).equals(tagged.manifest.bytes)).toBe(true);
    for (const { manifest, blobs } of tagged.images) {
      expect((await api.get(`${repository}/manifests/${manifest.digest}`)).equals(manifest.bytes)).toBe(true);
      for (const { digest, bytes } of blobs) {
        expect((await api.get(`${repository}/blobs/${digest}`)).equals(bytes)).toBe(true);
      }
    }
  }

  async function move(): Promise<void> {
    const key = pick([...tags.keys()]);
    const tagged = key && tags.get(key);
    if (!tagged) return;
    const [repository] = split(key);
    const tag = `t${Math.floor(random() * TAGS)}`;
    expect((await api.putManifest(repository, tag, tagged.manifest)).status).toBe(201);
    tags.set(`${repository}:${tag}`, tagged);
  }

  async function remove(): Promise<void> {
    const key = pick([...tags.keys()]);
    if (!key) return;
    const [repository, tag] = split(key);
    expect((await api.request("DELETE", `${repository}/manifests/${tag}`)).status).toBe(202);
    tags.delete(key);
  }

  async function abandon(): Promise<void> {
    const begun = await api.request("POST", `${repositoryOf()}/blobs/uploads/`);
    await api.request("PATCH", begun.headers.get("location") ?? "", { body: Buffer.alloc(5_000) });
  }

  async function collect(): Promise<void> {
    const query = random() < 0.3 ? "?dryRun=true" : "";
    const answer = await fetch(`${registry.management}/api/v1/gc${query}`, { method: "POST" });
    expect(answer.status).toBe(200);
    await answer.arrayBuffer();
  }

  async function act(): Promise<void> {
    const dice = random();
    if (dice < 0.35) return push();
    if (dice < 0.65) return verify(pick([...tags.keys()]) ?? "");
    if (dice < 0.75) return move();
    if (dice < 0.9) return remove();
    if (dice < 0.95) return abandon();
    if (dice < 0.97) return collect();
    return api.pushBlob(repositoryOf(), randomBlob(3_000));
  }

  return {
    act,
    verifyAll: async () => {
      for (const key of tags.keys()) await verify(key);
    },
    digests: () =>
      [...tags.values()].flatMap(({ images, manifest }) => [
        manifest.digest,
        ...images.flatMap((image) => [image.manifest.digest, ...image.blobs.map(({ digest }) => digest)]),
      ]),
  };
}

describe(`${OPERATIONS} random pushes, pulls, mounts, tag moves, deletes and collections at once`, () => {
  it("lose nothing that is referred to, and leave nothing else", { timeout: 120_000 + OPERATIONS * 200 }, async () => {
    process.stdout.write(`seed ${SEED} (CREG_SOAK_SEED)\n`);
    const shared = Array.from({ length: 12 }, () => randomBlob(10_000));
    const workers = Array.from({ length: WORKERS }, (_, id) => createWorker(id, randomOf(SEED + id), shared));
    await Promise.all(
      workers.map(async ({ act }) => {
        for (let round = 0; round < OPERATIONS / WORKERS; round += 1) await act();
      }),
    );
    for (const worker of workers) await worker.verifyAll();
    const expected = new Set(workers.flatMap((worker) => worker.digests()));
    expect(expected.size).toBeGreaterThan(WORKERS);
    await eventually(async () => {
      await fetch(`${registry.management}/api/v1/gc`, { method: "POST" });
      const files = await readdir(join(registry.data, "blobs", "sha256"));
      expect(new Set(files.map((hex) => `sha256:${hex}`))).toEqual(expected);
    }, 60_000);
    expect(await readdir(join(registry.data, "trash"))).toEqual([]);
    for (const worker of workers) await worker.verifyAll();
  });
});
