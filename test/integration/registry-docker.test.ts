import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeTestImage, type TestImage } from "../../hack/cluster/test-image.ts";
import { clientTools } from "../support/client-tools.ts";
import { type DockerDaemon, startDockerDaemon } from "../support/docker-daemon.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const log = { log: () => {} };
let work: string;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let host: string;
let daemon: DockerDaemon;
let index: TestImage;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-docker-test-"));
  upstream = await startUpstreamRegistry();
  registry = await startRegistryProcess(upstream.configuration());
  host = new URL(registry.url).host;
  daemon = await startDockerDaemon();
  index = await makeTestImage({ directory: join(work, "index"), layerBytes: 2_000_000, multiArch: true, ...log });
  const direct = new URL(upstream.proxy.url).host;
  const tool = await clientTools(["regctl"], work);
  await tool("regctl", ["registry", "set", "--tls", "disabled", direct]);
  await tool("regctl", ["image", "copy", `ocidir://${index.directory}@${index.digest}`, `${direct}/library/probe:v1`]);
  upstream.proxy.reset();
});
afterAll(async () => {
  await daemon?.stop();
  await registry?.dispose();
  await upstream?.dispose();
  await rm(work, { recursive: true, force: true });
});

/** An image FROM scratch with as many layers of bytes that do not compress. */
async function build(tag: string, layers: number, layerBytes: number): Promise<void> {
  const context = join(work, `context-${layers}`);
  await mkdir(context, { recursive: true });
  const lines = ["FROM scratch"];
  for (let number = 0; number < layers; number += 1) {
    await writeFile(join(context, `layer-${number}`), randomBytes(layerBytes));
    lines.push(`COPY layer-${number} /layer-${number}`);
  }
  await writeFile(join(context, "Dockerfile"), lines.join("\n"));
  await daemon.docker("build", "--tag", tag, context);
}

async function digestOf(reference: string): Promise<string> {
  const [digest = ""] = (await daemon.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", reference))
    .split("@")
    .slice(1);
  return digest;
}

it("pushes an image of eight layers in parallel, pulls it by tag and by digest", async () => {
  const reference = `${host}/docker/app:v1`;
  await build(reference, 8, 6_000_000);
  expect(await daemon.docker("push", reference)).toContain("v1: digest: sha256:");
  const digest = await digestOf(reference);
  const id = await daemon.docker("image", "inspect", "--format", "{{.Id}}", reference);
  for (const again of [reference, `${host}/docker/app@${digest}`]) {
    await daemon.docker("image", "rm", "--force", id);
    await daemon.docker("builder", "prune", "--force");
    await daemon.docker("pull", again);
    expect(await daemon.docker("image", "inspect", "--format", "{{.Id}}", again)).toBe(id);
  }
  // The layers are there already: this push mounts or finds them.
  await daemon.docker("tag", `${host}/docker/app@${digest}`, `${host}/docker/copy:v1`);
  await daemon.docker("push", `${host}/docker/copy:v1`);
  expect(await digestOf(`${host}/docker/copy:v1`)).toBe(digest);
});

it("pulls an index through, each blob fetched once, while it pushes", async () => {
  await build(`${host}/docker/meanwhile:v1`, 2, 3_000_000);
  const through = `${host}/${UPSTREAM_NAME}/library/probe:v1`;
  await Promise.all([daemon.docker("pull", through), daemon.docker("push", `${host}/docker/meanwhile:v1`)]);
  expect(await digestOf(through)).toBe(index.digest);
  expect(upstream.fetchedTwice()).toEqual([]);
  const refused = daemon.docker("push", through);
  await expect(refused).rejects.toThrow("belongs to the upstream");
});

it("is the mirror of docker.io for a daemon that asks without naming it", async () => {
  const mirror = await startRegistryProcess({
    upstreams: [{ registry: "docker.io", endpoints: [upstream.proxy.url], hosts: ["127.0.0.1"] }],
    upstreamPolicy: "listed",
  });
  const mirrored = await startDockerDaemon({ mirror: mirror.url });
  try {
    upstream.proxy.reset();
    await mirrored.docker("pull", "probe:v1");
    const [reference] = (await mirrored.docker("image", "ls", "--digests", "--format", "{{.Repository}}@{{.Digest}}"))
      .split("\n")
      .filter((line) => line.startsWith("probe@"));
    expect(reference).toBe(`probe@${index.digest}`);
    expect(upstream.requests(/^GET .*\/blobs\//)).toBeGreaterThan(0);
    expect(upstream.fetchedTwice()).toEqual([]);
  } finally {
    await mirrored.stop();
    await mirror.dispose();
  }
});
