import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { makeImage } from "../support/test-content.ts";

const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

describe("listing", () => {
  let registry: RegistryProcess;
  let api: RegistryApi;
  beforeAll(async () => {
    registry = await startRegistryProcess({ delete: { enabled: false } });
    api = createRegistryApi(registry.url);
    const image = makeImage([]);
    for (const tag of ["v10", "v2", "a", "B", "latest"]) await api.pushImage("list/tags", tag, image);
    for (const name of ["list/z", "list/b-c", "list/b/c", "list/b.c"]) await api.pushImage(name, "v1", image);
  });
  afterAll(() => registry.dispose());

  /** Follows the Link headers. */
  async function pages<Body>(path: string): Promise<Body[]> {
    const found: Body[] = [];
    for (let next: string | undefined = path; next; ) {
      const response: Response = await api.request("GET", next);
      expect(response.status).toBe(200);
      found.push((await response.json()) as Body);
      next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
    }
    return found;
  }

  it("gives tags in order, page by page", async () => {
    const sorted = ["B", "a", "latest", "v10", "v2"];
    expect(await pages("list/tags/tags/list")).toEqual([{ name: "list/tags", tags: sorted }]);
    const paged = await pages<{ tags: string[] }>("list/tags/tags/list?n=2");
    expect(paged.map(({ tags }) => tags)).toEqual([["B", "a"], ["latest", "v10"], ["v2"]]);
    expect(await pages("list/tags/tags/list?last=latest&n=10")).toEqual([{ name: "list/tags", tags: ["v10", "v2"] }]);
  });

  it("gives an empty page without a link for n=0", async () => {
    const response = await api.request("GET", "list/tags/tags/list?n=0");
    expect([response.status, response.headers.get("link"), await response.json()]).toEqual([
      200,
      null,
      { name: "list/tags", tags: [] },
    ]);
    expect(await (await api.request("GET", "_catalog?n=0")).json()).toEqual({ repositories: [] });
  });

  it("refuses an n that is no number", async () => {
    for (const n of ["-1", "abc", "1.5", "99999999999", ""]) {
      for (const path of ["list/tags/tags/list", "_catalog"]) {
        const response = await api.request("GET", `${path}?n=${n}`);
        expect([n, response.status, (await errorOf(response)).code]).toEqual([n, 400, "BAD_REQUEST"]);
      }
    }
    expect((await api.request("GET", `_catalog?last=${"x".repeat(600)}`)).status).toBe(400);
    expect((await api.request("GET", "_catalog?n=999999999")).status).toBe(200);
  });

  it("gives the catalog in order, page by page", async () => {
    const sorted = ["list/b-c", "list/b.c", "list/b/c", "list/tags", "list/z"];
    const paged = await pages<{ repositories: string[] }>("_catalog?n=2");
    expect(paged.flatMap(({ repositories }) => repositories)).toEqual(sorted);
    expect(paged.map(({ repositories }) => repositories.length)).toEqual([2, 2, 1]);
  });

  it("deletes nothing when deleting is switched off", async () => {
    const { digest } = makeImage([]).manifest;
    for (const path of ["list/tags/manifests/a", `list/tags/manifests/${digest}`, `list/tags/blobs/${digest}`]) {
      const refused = await api.request("DELETE", path);
      expect(refused.status).toBe(405);
      expect((await errorOf(refused)).message).toContain("delete.enabled");
    }
    expect((await api.request("HEAD", "list/tags/manifests/a")).status).toBe(200);
  });
});

describe("plugins", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "creg-plugins-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("see every request, may refuse it and add to its answer", async () => {
    const plugin = join(directory, "office-hours.mjs");
    await writeFile(
      plugin,
      `export default async function officeHours(server) {
        server.addHook("onRequest", async (request, reply) => {
          if (request.headers["x-day"] === "sunday") return reply.code(403).send({ closed: true });
        });
        server.addHook("onSend", async (_request, reply) => { reply.header("x-plugin", "office-hours"); });
      }`,
    );
    const registry = await startRegistryProcess({ plugins: [plugin] });
    try {
      const answer = await fetch(`${registry.url}/v2/`);
      expect([answer.status, answer.headers.get("x-plugin")]).toEqual([200, "office-hours"]);
      const refused = await fetch(`${registry.url}/v2/_catalog`, { headers: { "x-day": "sunday" } });
      expect([refused.status, await refused.json()]).toEqual([403, { closed: true }]);
    } finally {
      await registry.dispose();
    }
  });

  it("that cannot be loaded end the process before it listens, each by its key", async () => {
    const empty = join(directory, "empty.mjs");
    await writeFile(empty, "export const nothing = 1;");
    const starting = startRegistryProcess({ plugins: [empty, join(directory, "absent.mjs")] });
    await expect(starting).rejects.toThrow(
      /ended with 2:[\s\S]*plugins\.0: .*empty\.mjs has no default export[\s\S]*plugins\.1: /,
    );
  });
});

describe("authentication", () => {
  let directory: string;
  let htpasswd: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "creg-auth-"));
    htpasswd = join(directory, "htpasswd");
    await writeFile(htpasswd, `alice:${await bcrypt.hash("wonderland", 5)}\n`);
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("lets everybody pull and the users of the htpasswd file push", async () => {
    const registry = await startRegistryProcess({ auth: { htpasswdFile: htpasswd, anonymousPush: false } });
    try {
      const alice = createRegistryApi(registry.url, basic("alice", "wonderland"));
      const anonymous = createRegistryApi(registry.url);
      await alice.pushImage("team/app", "v1", makeImage());

      const challenged = await anonymous.request("GET", "/v2/");
      expect([challenged.status, challenged.headers.get("www-authenticate")]).toEqual([
        401,
        'Basic realm="cache-registry", charset="UTF-8"',
      ]);
      expect((await anonymous.request("GET", "team/app/manifests/v1")).status).toBe(200);
      const refused = await anonymous.request("POST", "team/app/blobs/uploads/");
      expect([refused.status, (await errorOf(refused)).code]).toEqual([401, "UNAUTHORIZED"]);
      expect(refused.headers.get("www-authenticate")).toMatch(/^Basic realm=/);
      expect((await anonymous.request("DELETE", "team/app/manifests/v1")).status).toBe(401);

      for (const wrong of [basic("alice", "x"), basic("bob", "wonderland"), { authorization: "Bearer abc" }]) {
        const stranger = createRegistryApi(registry.url, wrong);
        expect((await stranger.request("GET", "/v2/")).status).toBe(401);
        expect((await stranger.request("POST", "team/app/blobs/uploads/")).status).toBe(401);
        expect((await stranger.request("GET", "team/app/manifests/v1")).status).toBe(401);
      }

      // The file is read again when it changes.
      await writeFile(htpasswd, `bob:${await bcrypt.hash("builder", 5)}\n`);
      expect((await alice.request("POST", "team/app/blobs/uploads/")).status).toBe(401);
      const bob = createRegistryApi(registry.url, basic("bob", "builder"));
      expect((await bob.request("POST", "team/app/blobs/uploads/")).status).toBe(202);
      expect(registry.output()).not.toContain("wonderland");
    } finally {
      await registry.dispose();
    }
  });

  it("asks for credentials to pull when anonymousPull is off", async () => {
    await writeFile(join(directory, "user"), "carol\n");
    await writeFile(join(directory, "password"), "secret\n");
    const registry = await startRegistryProcess({
      auth: {
        usernameFile: join(directory, "user"),
        passwordFile: join(directory, "password"),
        anonymousPull: false,
        anonymousPush: false,
      },
    });
    try {
      const carol = createRegistryApi(registry.url, basic("carol", "secret"));
      const anonymous = createRegistryApi(registry.url);
      await carol.pushImage("team/app", "v1", makeImage());
      for (const path of [
        "team/app/manifests/v1",
        "team/app/tags/list",
        "_catalog",
        "no/such/manifests/x",
        "nothing",
      ]) {
        expect((await anonymous.request("GET", path)).status).toBe(401);
      }
      expect((await anonymous.request("HEAD", "team/app/manifests/v1")).status).toBe(401);
      expect((await carol.request("GET", "team/app/manifests/v1")).status).toBe(200);
    } finally {
      await registry.dispose();
    }
  });
});
