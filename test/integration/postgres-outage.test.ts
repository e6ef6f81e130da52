import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { Secret } from "@cache-registry/runtime/secret";
import {
  blobRef,
  CACHED,
  digest,
  GRACE,
  LOCAL,
  linkBlob,
  putManifest,
} from "@cache-registry/storage/metadata-store/conformance/fixtures";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { createPostgresMetadataStore } from "@cache-registry/storage/metadata-store/postgres";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startPostgresServer } from "../support/postgres-server.ts";
import { startVanishingRelay } from "../support/vanishing-relay.ts";

/** What rule 19 promises, and what a busy machine may add. Milliseconds. */
const SOON = 1_000 + 500;

const server = await startPostgresServer();
const opened: MetadataStore[] = [];
afterEach(async () => {
  await server.thaw();
  await Promise.all(opened.splice(0).map((store) => store.close()));
});
afterAll(() => server.dispose());

async function open(at?: string): Promise<MetadataStore> {
  const url = new Secret(at ?? (await server.database()));
  const store = createPostgresMetadataStore({ url, connections: 6, grace: GRACE });
  opened.push(store);
  await store.start();
  return store;
}

const UNAVAILABLE = { code: "UNAVAILABLE", status: 503, headers: { "retry-after": "1" } };

/** Fails with 503, and soon. */
async function expectRefusal(call: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await expect(call()).rejects.toMatchObject(UNAVAILABLE);
  expect(performance.now() - start).toBeLessThan(SOON);
}

/** An image that was pulled: what a pull of it asks for. */
async function know(store: MetadataStore): Promise<void> {
  await linkBlob(store, "layer");
  await putManifest(store, "m", { references: [blobRef("layer")], tags: ["v1"], now: 5 });
  // Of an index that nobody asked for yet.
  await putManifest(store, "unread", { now: 5 });
  await expectKnown(store);
}

async function expectKnown(store: MetadataStore): Promise<void> {
  expect(await store.tag(CACHED.name, "v1")).toMatchObject({ digest: digest("m"), checkedAt: 5 });
  expect(await store.manifest(CACHED.name, digest("m"))).toMatchObject({ size: 100 });
  expect(await store.blob(digest("layer"))).toMatchObject({ size: 10 });
  expect(await store.isLinked(CACHED.name, digest("layer"))).toBe(true);
}

async function expectOutage(store: MetadataStore): Promise<void> {
  const start = performance.now();
  await expectKnown(store);
  expect(performance.now() - start).toBeLessThan(SOON);
  await expectRefusal(() => store.blob(digest("unread")));
  await expectRefusal(() => store.tag(CACHED.name, "v2"));
  await expectRefusal(() => store.isLinked(LOCAL.name, digest("layer")));
  await expectRefusal(() => store.listTags(CACHED.name, { limit: 10 }));
  await expectRefusal(() => store.usage());
  await expectRefusal(() => putManifest(store, "n", { tags: ["v2"] }));
  await expectRefusal(() => linkBlob(store, "new"));
  // Refused without being tried, it changes nothing about what is known.
  await expectRefusal(() => store.deleteTag(CACHED.name, "v1", 10));
  await expectRefusal(() => store.deleteManifest(CACHED.name, digest("m"), 10));
  await expectKnown(store);
  await expectRefusal(() => store.markTag(CACHED.name, "v1", { staleSince: null }));
}

async function expectBack(store: MetadataStore): Promise<void> {
  await eventually(() => store.usage());
  await putManifest(store, "back", { tags: ["v2"] });
  expect(await store.tag(CACHED.name, "v2")).toMatchObject({ digest: digest("back") });
  await expectKnown(store);
}

describe("without PostgreSQL", () => {
  it("known content is told and the rest refused, when it stops, is killed or hangs; it recovers by itself", async () => {
    const store = await open();
    await know(store);
    const outages = [
      [() => server.stop(), () => server.start()],
      [() => server.kill(), () => server.start()],
      [() => server.freeze(), () => server.thaw()],
    ] as const;
    for (const [begin, end] of outages) {
      await begin();
      await expectOutage(store);
      await end();
      await expectBack(store);
      await store.deleteTag(CACHED.name, "v2", 10);
    }
  });

  it("what a write took away is not told any more", async () => {
    const store = await open();
    await know(store);
    for (const name of ["gone", "untagged"]) {
      await putManifest(store, name, { tags: [name] });
      await store.tag(CACHED.name, name);
    }
    await store.deleteManifest(CACHED.name, digest("gone"), 10);
    await store.deleteTag(CACHED.name, "untagged", 10);
    await store.unlinkBlob(CACHED.name, digest("layer"), 10);
    await server.stop();
    await expectRefusal(() => store.tag(CACHED.name, "gone"));
    await expectRefusal(() => store.manifest(CACHED.name, digest("gone")));
    await expectRefusal(() => store.tag(CACHED.name, "untagged"));
    await expectRefusal(() => store.isLinked(CACHED.name, digest("layer")));
    await server.start();
  });

  it("calls on their way fail soon too, all of them, and are not carried out behind their callers' backs", async () => {
    const url = await server.database();
    const store = await open(url);
    await know(store);
    await server.freeze();
    const start = performance.now();
    const calls = Array.from({ length: 50 }, (_, index) => putManifest(store, `late-${index}`, { tags: ["late"] }));
    const results = await Promise.allSettled([...calls, store.usage()]);
    expect(performance.now() - start).toBeLessThan(SOON);
    expect(results.map(({ status }) => status)).toEqual(results.map(() => "rejected"));
    await server.thaw();
    await expectBack(store);
    // What had not been sent never is; a transaction that the server had begun ends with its connection.
    expect(await store.tag(CACHED.name, "late")).toBeUndefined();
  });

  it("acknowledges nothing that a crash of the server takes back", async () => {
    const url = await server.database();
    const store = await open(url);
    const acknowledged: string[] = [];
    let pushing = true;
    const pushers = Array.from({ length: 6 }, async (_, pusher) => {
      for (let index = 0; pushing; index++) {
        const name = `m-${pusher}-${index}`;
        const pushed = await putManifest(store, name, { repository: LOCAL, tags: [name] }).then(
          () => true,
          () => false,
        );
        if (pushed) acknowledged.push(name);
        // Failing is quick while it is away.
        else await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.length;
      await eventually(() => expect(acknowledged.length).toBeGreaterThan(before + 20));
      await server.kill();
      await server.start();
    }
    pushing = false;
    await Promise.all(pushers);
    await eventually(() => store.usage());
    for (const name of acknowledged) {
      expect(await store.tag(LOCAL.name, name)).toMatchObject({ digest: digest(name) });
    }
  });
});

describe("connections", () => {
  it("that are ended by the server are replaced without a failure, also inside transactions", async () => {
    const url = await server.database();
    const store = await open(url);
    const failures: unknown[] = [];
    const failed = async (error: unknown): Promise<void> => {
      failures.push(error);
      // Failing is quick while it is away.
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    let linked = 0;
    let done = false;
    const work = Array.from({ length: 4 }, async (_, worker) => {
      for (let index = 0; !done; index++) {
        await store.tag(CACHED.name, "v1").catch(failed);
        await linkBlob(store, `b-${worker}-${index}`).then(() => (linked += 1), failed);
      }
    });
    for (let round = 0; round < 5; round++) {
      await server.query(
        url,
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      const before = linked;
      await eventually(() => expect(linked).toBeGreaterThan(before + 5));
    }
    done = true;
    await Promise.all(work);
    // Only a commit that was cut off may have to be told as a failure.
    expect(failures.length, `the first: ${inspect(failures[0])}`).toBeLessThanOrEqual(10);
    const { blobs } = await store.usage();
    expect(blobs).toBeGreaterThan(20);
  });

  it("that vanish without a word are given up within a second", async () => {
    const url = await server.database();
    const relay = await startVanishingRelay(new URL(url.replace("postgres:", "http:")).origin);
    try {
      const through = new URL(url.replace("postgres:", "http:"));
      through.port = new URL(relay.url).port;
      const store = await open(through.href.replace("http:", "postgres:"));
      await know(store);
      relay.vanish();
      await expectOutage(store);
    } finally {
      await relay.close();
    }
  });
});

describe("the start", () => {
  it("waits for the server, however long it takes, and gives up when it is told to", async () => {
    const url = await server.database();
    await server.stop();
    const store = createPostgresMetadataStore({ url: new Secret(url), connections: 4 });
    opened.push(store);
    let started = false;
    const starting = store.start().then(() => {
      started = true;
    });
    const told = new AbortController();
    const other = createPostgresMetadataStore({ url: new Secret(url), connections: 4 }).start(told.signal);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(started).toBe(false);
    told.abort(new Error("told to end"));
    await expect(other).rejects.toThrow("told to end");
    await server.start();
    await starting;
    await know(store);
  });

  it("reads the file with the URL for each connection: a new password takes over", async () => {
    const url = await server.database();
    const folder = await mkdtemp(join(tmpdir(), "creg-pg-url-"));
    const urlFile = join(folder, "url");
    await server.query(url, "DROP ROLE IF EXISTS rotating; CREATE ROLE rotating LOGIN SUPERUSER PASSWORD 'one'");
    const as = (password: string) => url.replace(/\/\/[^@]*@/, `//rotating:${password}@`);
    await writeFile(urlFile, as("one"));
    const store = createPostgresMetadataStore({ urlFile, connections: 4, grace: GRACE });
    opened.push(store);
    await store.start();
    await know(store);
    await server.query(url, "ALTER ROLE rotating PASSWORD 'two'");
    await server.stop();
    await server.start();
    await expectRefusal(() => store.usage());
    await writeFile(urlFile, as("two"));
    await expectBack(store);
    await rm(folder, { recursive: true });
  });
});
