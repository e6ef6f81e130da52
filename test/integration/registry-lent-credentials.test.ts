import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Registry, startRegistry } from "../../hack/cluster/registry.ts";
import { startUpstream, type Upstream } from "../../hack/cluster/upstream.ts";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type Image, makeImage } from "../support/test-content.ts";

/* CNCF distribution with a password, and nobody but the controllers to tell it to the cache. */

const HOST = "private.example.com";
const robot = { username: "robot", password: "hunter2" };
let folder: string;
let upstream: Registry;
let seen: Upstream;
let cache: RegistryProcess;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "creg-lent-"));
  await writeFile(join(folder, "htpasswd"), `robot:${await bcrypt.hash("hunter2", 5)}`);
  const auth = { htpasswd: { realm: "test", path: join(folder, "htpasswd") } };
  upstream = await startRegistry({ dir: join(folder, "upstream"), auth, log: () => {} });
  seen = await startUpstream({ target: upstream.url, host: "127.0.0.1" });
  const entry = { registry: HOST, endpoints: [seen.url], paths: ["up"], tagTtl: "0s" };
  cache = await startRegistryProcess({ upstreams: [entry], upstreamPolicy: "listed", log: { level: "debug" } });
});
afterAll(async () => {
  await cache?.dispose();
  await seen?.close();
  await upstream?.stop();
  await rm(folder, { recursive: true, force: true });
});

const pull = (path: string) => createRegistryApi(cache.url).request("GET", `up/${path}`);
const imageUrl = (name: string) => `${cache.management}/api/v1/images/${encodeURIComponent(`${HOST}/${name}`)}`;

async function push(repository: string): Promise<Image> {
  const image = makeImage([5_000, 6_000]);
  const authorization = `Basic ${Buffer.from("robot:hunter2").toString("base64")}`;
  await createRegistryApi(upstream.url, { authorization }).pushImage(repository, "v1", image);
  return image;
}

async function want(name: string, credentials?: readonly object[]): Promise<void> {
  const body = JSON.stringify({ owner: "test", pin: true, credentials });
  const answer = await fetch(imageUrl(name), { method: "PUT", body, headers: { "content-type": "application/json" } });
  expect(answer.status).toBe(202);
}

async function stateIs(name: string, state: string): Promise<void> {
  await eventually(async () => {
    const answer = (await (await fetch(imageUrl(name))).json()) as { state: string; error?: string };
    expect(answer.state).toBe(state);
  });
}

describe("credentials lent for a private image", () => {
  it("let it be warmed and pulled by whoever has none, at once after a refusal", async () => {
    const image = await push("team/app");
    expect((await pull("team/app/manifests/v1")).status).toBe(404);
    await want("team/app:v1");
    await stateIs("team/app:v1", "failed");
    await want("team/app:v1", [{ username: "wrong", password: "x" }, robot]);
    await stateIs("team/app:v1", "ready");
    expect((await pull("team/app/manifests/v1")).status).toBe(200);
    for (const { digest } of image.blobs) expect((await pull(`team/app/blobs/${digest}`)).status).toBe(200);
  });

  it("serve cold pulls too, and no other repository", async () => {
    const image = await push("team/cold");
    await push("team/other");
    // Another tag, which is not there: what was lent is for the repository.
    await want("team/cold:v2", [robot]);
    await stateIs("team/cold:v2", "failed");
    expect((await pull("team/cold/manifests/v1")).status).toBe(200);
    for (const { digest } of image.blobs) expect((await pull(`team/cold/blobs/${digest}`)).status).toBe(200);
    expect((await pull("team/other/manifests/v1")).status).toBe(404);
  });

  it("are given back, and are gone after a restart, while what is held is served on", async () => {
    await push("team/back");
    await want("team/back:v1", [robot]);
    await stateIs("team/back:v1", "ready");
    await want("team/back:v1", []);
    const answer = await pull("team/back/manifests/v1");
    expect([answer.status, answer.headers.has("warning")]).toEqual([200, true]);
    await stateIs("team/back:v1", "stale");
    await want("team/back:v1", [robot]);
    await stateIs("team/back:v1", "ready");
    await cache.stop();
    await cache.start();
    expect((await pull("team/back/manifests/v1")).headers.has("warning")).toBe(true);
    await want("team/back:v1", [robot]);
    await stateIs("team/back:v1", "ready");
    expect((await pull("team/back/manifests/v1")).headers.has("warning")).toBe(false);
  });

  it("are in no log and no answer", async () => {
    await want("team/app:v1", [{ username: "robot", password: "a-wrong-one" }]);
    const answers = await Promise.all(
      [imageUrl("team/app:v1"), `${cache.management}/metrics`].map((url) => fetch(url)),
    );
    const texts = await Promise.all(answers.map((answer) => answer.text()));
    for (const text of [...texts, cache.output()]) {
      expect(text).not.toContain("hunter2");
      expect(text).not.toContain("a-wrong-one");
      expect(text).not.toContain(Buffer.from("robot:hunter2").toString("base64"));
    }
  });
});
