import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { makeTestImage } from "../../hack/cluster/test-image.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { eventually } from "../support/eventually.ts";
import { type PostgresServer, startPostgresServer } from "../support/postgres-server.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { digestOf, type Image, makeImage, makeIndex } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
/** What rule 19 promises, and what a busy machine may add. Milliseconds. */
const SOON = 1_000 + 700;
const run = promisify(execFile);
let postgres: PostgresServer;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let api: RegistryApi;
let secrets: string;

beforeAll(async () => {
  [postgres, upstream] = await Promise.all([startPostgresServer(), startUpstreamRegistry()]);
  secrets = await mkdtemp(join(tmpdir(), "creg-pg-secrets-"));
});
afterEach(async () => {
  await postgres.thaw();
  await registry.dispose();
});
afterAll(async () => {
  await upstream?.dispose();
  await postgres?.dispose();
  await rm(secrets, { recursive: true, force: true });
});

/** On a database of its own, blobs in its folder. */
async function start(configuration: object = {}): Promise<void> {
  const urlFile = join(secrets, "url");
  await writeFile(urlFile, `${postgres.bySocket(await postgres.database())}\n`);
  registry = await startRegistryProcess({
    ...upstream.configuration(),
    gc: { grace: "1s", untagged: { local: "delete", after: "1s" } },
    ...configuration,
    storage: { metadata: { driver: "postgres", postgres: { urlFile } } },
  });
  api = createRegistryApi(registry.url);
}

async function expectRefusal(method: string, path: string, body?: Buffer): Promise<void> {
  const begun = performance.now();
  const response = await api.request(method, path, body ? { body, headers: { "content-type": MANIFEST } } : {});
  expect([path, response.status, response.headers.get("retry-after")]).toEqual([path, 503, "1"]);
  expect((await errorOf(response)).code).toBe("UNAVAILABLE");
  expect(performance.now() - begun).toBeLessThan(SOON);
}

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const onDisk = () => readdir(join(registry.data, "blobs", "sha256"));

describe("a registry on PostgreSQL", () => {
  it("takes pushes of crane, gives them back after a restart, and collects what is deleted", async () => {
    await start();
    const work = await mkdtemp(join(tmpdir(), "creg-pg-crane-"));
    try {
      const { crane = "" } = await ensureTools(["crane"], { log: () => {} });
      const image = await makeTestImage({ directory: join(work, "image"), layerBytes: 5 * MiB, log: () => {} });
      const reference = `${new URL(registry.url).host}/team/app:v1`;
      const env = { HOME: work, PATH: process.env.PATH };
      await run(crane, ["push", image.directory, reference], { env });
      const index = makeIndex({ amd64: makeImage([10_000]), arm64: makeImage([10_000]) });
      await api.pushImage("team/index", "v1", index);
      expect(await registry.stop()).toBe(0);
      await registry.start();
      await run(crane, ["validate", "--remote", reference], { env });
      expect(await api.get("team/index/manifests/v1")).toEqual(index.manifest.bytes);
      expect(JSON.parse(String(await api.get("_catalog")))).toEqual({ repositories: ["team/app", "team/index"] });

      for (const repository of ["team/app", "team/index"]) {
        expect((await api.request("DELETE", `${repository}/manifests/v1`)).status).toBe(202);
      }
      await eventually(async () => expect(await onDisk()).toEqual([]));
    } finally {
      await rm(work, { recursive: true });
    }
  });

  it("pulls through, once, and keeps what it got", async () => {
    await start({ gc: { grace: "1h" } });
    const image = makeImage([200_000, 100_000]);
    await upstream.api.pushImage("team/cold", "v1", image);
    const path = `${UPSTREAM_NAME}/team/cold`;
    await Promise.all(Array.from({ length: 8 }, () => expectPullable(api, path, image, "v1")));
    for (const name of await onDisk()) {
      expect(digestOf(await readFile(join(registry.data, "blobs", "sha256", name)))).toBe(`sha256:${name}`);
    }
    expect(upstream.fetchedTwice()).toEqual([]);
  });

  it("pushes and collects at once, and nothing that is tagged goes", async () => {
    await start();
    const kept = new Map<string, Image>();
    await Promise.all(
      Array.from({ length: 4 }, async (_, worker) => {
        for (let round = 0; round < 8; round++) {
          const image = makeImage([20_000, 30_000]);
          await api.pushImage(`busy/${worker % 2}`, `w${worker}-${round % 3}`, image);
          kept.set(`busy/${worker % 2} w${worker}-${round % 3}`, image);
        }
      }),
    );
    const wanted = [...kept.values()].flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
    const expected = [...new Set(wanted.map(({ digest }) => digest.slice("sha256:".length)))].sort();
    await eventually(async () => expect((await onDisk()).sort()).toEqual(expected));
    for (const [name, image] of kept) {
      const [repository = "", tag = ""] = name.split(" ");
      await expectPullable(api, repository, image, tag);
    }
  });

  it("serves what it knows while the database is away, refuses the rest at once, and recovers", async () => {
    await start({ gc: { grace: "1h" } });
    const [known, cached] = [makeImage([50_000]), makeImage([60_000])];
    await upstream.api.pushImage("team/outage", "v1", cached);
    await api.pushImage("team/known", "v1", known);
    const path = `${UPSTREAM_NAME}/team/outage`;
    // The first pull fetches it, the second reads what is known then.
    for (let pull = 0; pull < 2; pull++) {
      await expectPullable(api, "team/known", known, "v1");
      await expectPullable(api, path, cached, "v1");
    }
    const image = makeImage([1_000]);
    const outages = [
      [() => postgres.stop(), () => postgres.start()],
      [() => postgres.freeze(), () => postgres.thaw()],
    ] as const;
    for (const [begin, end] of outages) {
      await begin();
      await expectRefusal("GET", "team/known/manifests/v2");
      await expectPullable(api, "team/known", known, "v1");
      await expectPullable(api, path, cached, "v1");
      await expectRefusal("GET", "team/known/tags/list");
      await expectRefusal("POST", "team/known/blobs/uploads/");
      await expectRefusal("PUT", "team/known/manifests/v2", known.manifest.bytes);
      await expectRefusal("DELETE", "team/known/manifests/v1");
      // Answers are remembered for some seconds there.
      await eventually(async () => {
        const ready = await fetch(`${registry.management}/readyz?verbose`);
        expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining("[!] metadata store")]);
      });
      await end();
      await eventually(() => api.pushImage("team/known", "v2", image));
      await expectPullable(api, "team/known", image, "v2");
      expect((await api.request("DELETE", "team/known/manifests/v2")).status).toBe(202);
    }
    expect(registry.output()).not.toContain(postgres.password);
    expect(registry.output()).not.toContain(encodeURIComponent(postgres.password));
  });

  it("waits, unready, for a database that is not there yet", async () => {
    await start();
    expect(await registry.stop()).toBe(0);
    await postgres.stop();
    const starting = registry.start();
    await eventually(async () => {
      const ready = await fetch(`${registry.management}/readyz?verbose`);
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining("[-] process: starting")]);
    });
    await postgres.start();
    await starting;
    await api.pushImage("team/late", "v1", makeImage());
  });
});
