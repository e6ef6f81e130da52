import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, runCommand, startRegistryProcess } from "../support/registry-process.ts";
import { startS3Server } from "../support/s3-server.ts";
import { type Blob, type Image, makeImage } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
});
afterAll(() => upstream?.dispose());
afterEach(() => registry?.dispose());

async function start(configuration: object = {}): Promise<void> {
  registry = await startRegistryProcess({ ...upstream.configuration(), ...configuration });
  api = createRegistryApi(registry.url);
}

const pull = (repository: string, image: Image) => expectPullable(api, repository, image);

const fileOf = ({ digest }: Blob): string => join(registry.data, "blobs", ...digest.split(":"));

/** One byte in the middle is another. */
async function damage(blob: Blob): Promise<void> {
  const bytes = await readFile(fileOf(blob));
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await writeFile(fileOf(blob), bytes);
}

function scrub(...args: string[]) {
  return runCommand(["scrub", "--config", join(registry.directory, "registry.yaml"), ...args], {
    cwd: registry.directory,
  });
}

function layerOf({ blobs }: Image, index = 1): Blob {
  const blob = blobs[index];
  if (!blob) throw new Error(`no layer ${index}`);
  return blob;
}

it("while it serves: damaged content is quarantined, what is cached is fetched again, what was pushed is named", async () => {
  await start();
  const [cached, pushed] = [makeImage([300_000, 20_000]), makeImage([200_000])];
  await upstream.api.pushImage("library/scrub", "v1", cached);
  const repository = `${UPSTREAM_NAME}/library/scrub`;
  await api.get(`${repository}/manifests/v1`);
  await pull(repository, cached);
  await api.pushImage("team/app", "v1", pushed);

  const clean = scrub();
  expect(await clean.exited, clean.output()).toBe(0);
  expect(clean.output()).toContain("a registry is running");

  await damage(layerOf(cached));
  await damage(layerOf(pushed));
  await rm(fileOf(layerOf(cached, 2)));
  const found = scrub();
  expect(await found.exited, found.output()).toBe(4);
  expect(found.output()).toContain(`damaged ${layerOf(pushed).digest}: LOST`);
  expect(found.output()).toContain("team/app:v1");
  expect(found.output()).toContain(`damaged ${layerOf(cached).digest}: fetched again (${repository}:v1)`);
  expect(found.output()).toContain(`missing ${layerOf(cached, 2).digest}: fetched again`);
  expect(await readdir(join(registry.data, "quarantine"))).toHaveLength(2);
  await pull(repository, cached);
  expect((await api.request("GET", `team/app/blobs/${layerOf(pushed).digest}`)).status).toBe(404);

  // Pushing the same image again heals it, as clients ask for each blob first.
  await api.pushImage("team/app", "v1", pushed);
  const again = scrub("--json");
  expect(await again.exited, again.output()).toBe(0);
  expect(again.output()).toContain('"findings":[]');
});

it("without a registry: in the stores themselves, and the next pull heals what is cached", async () => {
  await start();
  const image = makeImage([100_000]);
  await upstream.api.pushImage("library/offline", "v1", image);
  const repository = `${UPSTREAM_NAME}/library/offline`;
  await api.get(`${repository}/manifests/v1`);
  await pull(repository, image);
  await registry.stop();
  await damage(layerOf(image));
  await damage(image.manifest);

  const found = scrub();
  expect(await found.exited, found.output()).toBe(3);
  expect(found.output()).toContain(`damaged ${image.manifest.digest}: cached: the next pull fetches it`);
  await registry.start();
  await pull(repository, image);
  const clean = scrub();
  expect(await clean.exited, clean.output()).toBe(0);
});

it("is interrupted by Ctrl-C, says where it was, and goes on from there", async () => {
  await start({ scrub: { rate: "100k" } });
  for (let index = 0; index < 6; index += 1) await api.pushImage("team/many", `v${index}`, makeImage([40_000]));
  const running = scrub();
  await eventually(async () => {
    const status = (await (await fetch(`${registry.management}/api/v1/scrub`)).json()) as { checked: number };
    expect(status.checked).toBeGreaterThan(3);
  });
  running.child.kill("SIGINT");
  expect(await running.exited, running.output()).toBe(130);
  const [, position = ""] = /--after (sha256:\w+)/.exec(running.output()) ?? [];
  const rest = scrub("--after", position, "--rate", "1Gi", "--json");
  expect(await rest.exited, rest.output()).toBe(0);
  const report = JSON.parse(/^\{.*\}$/m.exec(rest.output())?.[0] ?? "{}") as { checked: number; blobs: number };
  expect(report.checked).toBeGreaterThan(0);
  expect(report.checked).toBeLessThan(report.blobs);
});

it("in an object store, too", async () => {
  const s3 = await startS3Server();
  try {
    await start({ storage: s3.storage("scrubbed") });
    const image = makeImage([50_000]);
    await api.pushImage("team/app", "v1", image);
    const layer = layerOf(image);
    const object = join(s3.bucket, "scrubbed", "blobs", ...layer.digest.split(":"));
    await writeFile(object, Buffer.alloc(layer.bytes.length));
    const found = scrub();
    expect(await found.exited, found.output()).toBe(4);
    expect(found.output()).toContain(`damaged ${layer.digest}: LOST`);
    const [kept = ""] = await readdir(join(s3.bucket, "scrubbed", "quarantine"));
    expect(kept).toContain(layer.digest.replace(":", "-"));
    await api.pushImage("team/app", "v1", image);
    await pull("team/app", image);
  } finally {
    await s3.dispose();
  }
});

it("runs on schedule", async () => {
  await start({ scrub: { schedule: "* * * * * *" } });
  const image = makeImage([1_000]);
  await api.pushImage("team/scheduled", "v1", image);
  await damage(layerOf(image));
  await eventually(async () => {
    const metrics = await (await fetch(`${registry.management}/metrics`)).text();
    expect(metrics).toMatch(/scrub_findings_total\{action="lost"\} 1/);
  });
  expect(await readdir(join(registry.data, "quarantine"))).toHaveLength(1);
});
