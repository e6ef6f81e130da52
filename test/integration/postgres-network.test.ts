import { connect, createServer, type Socket } from "node:net";
import { Secret } from "@cache-registry/runtime/secret";
import { createPostgresLeaseStore } from "@cache-registry/storage/lease-store/postgres";
import { createPostgresSession } from "@cache-registry/storage/lease-store/postgres-session";
import { CACHED, GRACE, putManifest } from "@cache-registry/storage/metadata-store/conformance/fixtures";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { createPostgresMetadataStore } from "@cache-registry/storage/metadata-store/postgres";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { startPostgresServer } from "../support/postgres-server.ts";
import { startVanishingRelay } from "../support/vanishing-relay.ts";

const server = await startPostgresServer();
const disposables: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const dispose of disposables.splice(0).reverse()) await dispose();
});
afterAll(() => server.dispose());

const asHttp = (url: string) => new URL(url.replace("postgres:", "http:"));

/** The database through what listens at `relay`. */
async function openThrough(database: string, relay: string, silence?: number): Promise<MetadataStore> {
  const through = asHttp(database);
  through.port = new URL(relay).port;
  const url = new Secret(through.href.replace("http:", "postgres:"));
  const store = createPostgresMetadataStore({
    ...{ url, connections: 9, grace: GRACE },
    ...(silence === undefined ? {} : { silence }),
  });
  await store.start();
  disposables.push(() => store.close());
  return store;
}

/** As a busy server: the connections of before answer at once, what a new one says takes `delay` milliseconds. */
async function startReluctantRelay(target: URL) {
  const sockets = new Set<Socket>();
  const state = { delay: 0 };
  const relay = createServer((socket) => {
    const forward = connect(Number(target.port), target.hostname);
    for (const [each, other] of [
      [socket, forward],
      [forward, socket],
    ] as const) {
      sockets.add(each);
      each.on("error", () => each.destroy()).on("close", () => other.destroy());
    }
    forward.pipe(socket);
    setTimeout(() => socket.pipe(forward), state.delay);
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  disposables.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => relay.close(resolve));
  });
  const address = relay.address();
  return { state, url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}` };
}

describe("a server that lives", () => {
  it("and takes long to begin a connection refuses nobody, and is not taken for dead", async () => {
    const database = await server.database();
    const relay = await startReluctantRelay(asHttp(database));
    const store = await openThrough(database, relay.url);
    await putManifest(store, "before");
    await store.usage();
    relay.state.delay = 1_000;
    const puts = Array.from({ length: 6 }, (_, index) => putManifest(store, `new-${index}`, { tags: [`t${index}`] }));
    const results = await Promise.allSettled(puts);
    expect(results.map(({ status }) => status)).toEqual(results.map(() => "fulfilled"));
  });

  it("is asked again over a new connection when those of before are cut without a word", async () => {
    const database = await server.database();
    const relay = await startVanishingRelay(asHttp(database).origin);
    disposables.push(() => relay.close());
    const store = await openThrough(database, relay.url, 1_000);
    await putManifest(store, "before", { tags: ["v1"] });
    await store.usage();
    relay.vanish();
    relay.comeBack();
    const start = performance.now();
    // What was sent may have been lost with the connection: a write is told as failed, a read is repeated.
    const [read] = await Promise.allSettled([store.tag(CACHED.name, "v1"), putManifest(store, "during")]);
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(read).toMatchObject({ status: "fulfilled", value: { name: "v1" } });
    await putManifest(store, "after", { tags: ["v2"] });
    expect(await store.tag(CACHED.name, "v2")).toBeDefined();
  });
});

describe("the connection for leases and locks", () => {
  function sessionAt(url: URL) {
    const connectionString = url.href.replace("http:", "postgres:");
    const session = createPostgresSession({ config: async () => ({ connectionString }) });
    disposables.push(() => session.close());
    return session;
  }

  it("is kept while it is answered, however long the server takes to begin another", async () => {
    const through = asHttp(await server.database());
    const relay = await startReluctantRelay(new URL(through));
    through.port = new URL(relay.url).port;
    const connection = await sessionAt(through).connection();
    relay.state.delay = 1_000;
    const queue = Array.from({ length: 8 }, () => connection.query("SELECT pg_sleep(0.3)"));
    const results = await Promise.allSettled(queue);
    expect(results.map(({ status }) => status)).toEqual(results.map(() => "fulfilled"));
    expect(connection.alive).toBe(true);
  });

  it("finds a table for leases in a database that was restored without one", async () => {
    const database = await server.database();
    const leases = createPostgresLeaseStore(sessionAt(asHttp(database)));
    const holder = { id: "a", address: null };
    expect(await leases.acquire("x", holder, 60_000)).toMatchObject({ granted: true });
    await server.query(database, "DROP TABLE leases; DROP SEQUENCE lease_tokens");
    await expect(leases.acquire("y", holder, 60_000)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await leases.acquire("y", holder, 60_000)).toMatchObject({ granted: true });
  });
});
