import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Registry, startRegistry } from "../../hack/cluster/registry.ts";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { makeImage } from "../support/test-content.ts";
import { startTokenServer, type TokenServer } from "../support/token-server.ts";

/* CNCF distribution as an upstream that wants to know who asks. */

const HOST = "private.example.com";
const log = { log: () => {} };
let work: string;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-credentials-"));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const file = (name: string) => join(work, name);
const encode = (text: string) => Buffer.from(text).toString("base64");
const basic = (credentials: string) => ({ authorization: `Basic ${encode(credentials)}` });

async function startCache(upstream: Registry, credentials: unknown): Promise<RegistryProcess> {
  return startRegistryProcess({
    upstreams: [{ registry: HOST, endpoints: [upstream.url], paths: ["up"], tagTtl: "0s", credentials }],
    upstreamPolicy: "listed",
    log: { level: "debug", access: true },
  });
}

const through = ({ url }: RegistryProcess): RegistryApi => createRegistryApi(url);

async function metric({ management }: RegistryProcess, line: RegExp): Promise<number> {
  const text = await (await fetch(`${management}/metrics`)).text();
  return Number(
    text
      .split("\n")
      .find((one) => line.test(one))
      ?.split(" ")
      .at(-1) ?? 0,
  );
}

async function warningOf(cache: RegistryProcess, path: string): Promise<string | null> {
  const response = await through(cache).request("GET", path);
  expect(response.status).toBe(200);
  return response.headers.get("warning");
}

describe("an upstream with htpasswd", () => {
  let upstream: Registry;
  let api: RegistryApi;

  beforeAll(async () => {
    const users = { robot: "hunter2", helped: "from-helper" };
    const lines = Object.entries(users).map(async ([name, password]) => `${name}:${await bcrypt.hash(password, 5)}`);
    await writeFile(file("htpasswd"), (await Promise.all(lines)).join("\n"));
    const auth = { htpasswd: { realm: "test", path: file("htpasswd") } };
    upstream = await startRegistry({ dir: file("basic"), auth, ...log });
    api = createRegistryApi(upstream.url, basic("robot:hunter2"));
  });
  afterAll(() => upstream?.stop());

  it("is asked with the password in a file; when that is wrong what is held is stale, and a right one helps", async () => {
    const [held, other] = [makeImage([5_000]), makeImage([5_000])];
    await api.pushImage("team/held", "v1", held);
    await api.pushImage("team/other", "v1", other);
    await writeFile(file("username"), "robot\n");
    await writeFile(file("password"), "hunter2\n");
    const cache = await startCache(upstream, { usernameFile: file("username"), passwordFile: file("password") });
    try {
      expect(await through(cache).get("up/team/held/manifests/v1")).toEqual(held.manifest.bytes);
      for (const blob of held.blobs) {
        expect(await through(cache).get(`up/team/held/blobs/${blob.digest}`)).toEqual(blob.bytes);
      }

      await writeFile(file("password"), "s3cret\n");
      const stale = await through(cache).request("GET", "up/team/held/manifests/v1");
      expect([stale.status, stale.headers.get("cache-status")]).toEqual([200, "cache-registry; hit; detail=stale"]);
      expect(stale.headers.get("warning")).toContain("unauthorized");
      const refused = await through(cache).request("GET", "up/team/other/manifests/v1");
      expect(refused.status).toBe(404);
      const reason = /^\w*stale_serves_total\{.*upstream="private\.example\.com".*reason="unauthorized".*\}/;
      expect(await metric(cache, reason)).toBe(1);

      await writeFile(file("password"), "hunter2\n");
      await eventually(async () => expect(await warningOf(cache, "up/team/held/manifests/v1")).toBeNull());

      await rm(file("password"));
      expect(await warningOf(cache, "up/team/held/manifests/v1")).toContain("unauthorized");
      expect(cache.output()).toContain(`cannot read the secret file ${file("password")}`);
      for (const secret of ["hunter2", "s3cret", encode("robot:hunter2")]) expect(cache.output()).not.toContain(secret);
    } finally {
      await cache.dispose();
    }
  });

  it("is asked by prefix, with a docker configuration and a credential helper", async () => {
    const image = makeImage([5_000]);
    for (const repository of ["config/app", "helper/app", "else/app"]) await api.pushImage(repository, "v1", image);
    await writeFile(file("config.json"), JSON.stringify({ auths: { [HOST]: { auth: encode("robot:hunter2") } } }));
    const answer = `{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"helped\\",\\"Secret\\":\\"from-helper\\"}`;
    const helper = file("docker-credential-test");
    await writeFile(helper, `#!/bin/sh\nread -r server\necho "$server" >> ${file("asked")}\necho "${answer}"\n`);
    await chmod(helper, 0o755);
    const path = process.env.PATH;
    process.env.PATH = `${work}:${path}`;
    const cache = await startCache(upstream, [
      { prefix: "config", dockerConfigFile: file("config.json") },
      { prefix: "helper", helper: "test" },
    ]).finally(() => {
      process.env.PATH = path;
    });
    try {
      for (const repository of ["config/app", "helper/app"]) {
        expect(await through(cache).get(`up/${repository}/manifests/v1`)).toEqual(image.manifest.bytes);
      }
      expect((await through(cache).request("GET", "up/else/app/manifests/v1")).status).toBe(404);
      expect(await readFile(file("asked"), "utf8")).toBe(`${HOST}\n`);
      expect(cache.output()).not.toContain("from-helper");
    } finally {
      await cache.dispose();
    }
  });
});

describe("an upstream with a token server", () => {
  let tokens: TokenServer;
  let upstream: Registry;
  let users: string[];
  const images = { "team/app": makeImage([5_000]), "public/app": makeImage([5_000]) };

  beforeAll(async () => {
    tokens = await startTokenServer({
      jwksFile: file("jwks.json"),
      users: () => users,
      refreshTokens: ["refresh-me"],
      isPublic: (repository) => repository.startsWith("public/"),
    });
    upstream = await startRegistry({ dir: file("token"), auth: tokens.auth, ...log });
    const names = Object.keys(images);
    const token = tokens.issue(names.map((name) => ({ type: "repository", name, actions: ["pull", "push"] })));
    const api = createRegistryApi(upstream.url, { authorization: `Bearer ${token}` });
    for (const [name, image] of Object.entries(images)) await api.pushImage(name, "v1", image);
  });
  beforeEach(() => {
    users = ["robot:hunter2"];
    tokens.asked.length = 0;
  });
  afterAll(async () => {
    await upstream?.stop();
    await tokens?.close();
  });

  async function pull(cache: RegistryProcess, name: keyof typeof images): Promise<void> {
    const { manifest, blobs } = images[name];
    expect(await through(cache).get(`up/${name}/manifests/v1`)).toEqual(manifest.bytes);
    await Promise.all(
      blobs.map(async ({ digest, bytes }) =>
        expect(await through(cache).get(`up/${name}/blobs/${digest}`)).toEqual(bytes),
      ),
    );
  }

  it("is asked with one token per repository for a whole image", async () => {
    await writeFile(
      file("hub.json"),
      JSON.stringify({ auths: { [HOST]: { username: "robot", password: "hunter2" } } }),
    );
    const cache = await startCache(upstream, { dockerConfigFile: file("hub.json") });
    try {
      await pull(cache, "team/app");
      await pull(cache, "public/app");
      expect(tokens.asked).toEqual(["GET robot repository:team/app:pull", "GET robot repository:public/app:pull"]);
      expect(cache.output()).not.toContain("hunter2");
    } finally {
      await cache.dispose();
    }
  });

  it("is asked with an identity token", async () => {
    await writeFile(file("identity.json"), JSON.stringify({ auths: { [HOST]: { identitytoken: "refresh-me" } } }));
    const cache = await startCache(upstream, { dockerConfigFile: file("identity.json") });
    try {
      await pull(cache, "team/app");
      expect(tokens.asked).toEqual(["POST refresh_token repository:team/app:pull"]);
      expect(cache.output()).not.toContain("refresh-me");
    } finally {
      await cache.dispose();
    }
  });

  it("is asked anonymously without credentials: what is public comes, the rest is not there", async () => {
    const cache = await startCache(upstream, undefined);
    try {
      await pull(cache, "public/app");
      expect((await through(cache).request("GET", "up/team/app/manifests/v1")).status).toBe(404);
      expect(tokens.asked).toContain("GET anonymous repository:public/app:pull");
    } finally {
      await cache.dispose();
    }
  });

  it("that refuses the password makes what is held stale, until it takes it again", async () => {
    const cache = await startCache(upstream, { username: "robot", password: "hunter2" });
    try {
      await pull(cache, "team/app");
      users = [];
      // A token that is held would still do.
      await cache.stop();
      await cache.start();
      const stale = await through(cache).request("GET", "up/team/app/manifests/v1");
      expect([stale.status, stale.headers.get("warning")]).toEqual([200, expect.stringContaining("unauthorized")]);
      users = ["robot:hunter2"];
      await eventually(async () => expect(await warningOf(cache, "up/team/app/manifests/v1")).toBeNull());
    } finally {
      await cache.dispose();
    }
  });
});
