import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { digestOfBytes } from "@cache-registry/core/verify";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { UpstreamError } from "@cache-registry/registry-client/upstream-error";
import { createBufferPool } from "@cache-registry/runtime/buffer-pool";
import { createLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { createServer, listen } from "@cache-registry/runtime/server";
import { createInProcessLeaseStore } from "@cache-registry/storage/lease-store/in-process";
import type { LeaseStore } from "@cache-registry/storage/lease-store/lease-store";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { localRepository, upstreamRepository } from "../content/repository.ts";
import { type BlobSource, createBlobSource } from "../pull-through/blob-source.ts";
import { createPullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { type Acquired, createLeases, type Leases } from "./leases.ts";
import { addPeerRoutes } from "./peer-routes.ts";
import { createPeers, type Peers } from "./peers.ts";
import { createShareFetch } from "./shared-fetch.ts";

const KiB = 1024;
const bytes = randomBytes(600 * KiB);
const digest = digestOfBytes(bytes);
const [one, two] = [upstreamRepository("a.example", "one"), upstreamRepository("a.example", "two")];
const logger = createLogger({ level: "silent", component: "test" });
const TTL = 400;

type Replica = { readonly source: BlobSource; die(): Promise<void> };

let stores: TestStores;
let leaseStore: LeaseStore;
let folder: string;
let asked: string[];
let upstreams: PassThrough[];
let refuse: boolean;
let endings: (() => Promise<void>)[];

beforeEach(async () => {
  stores = await openTestStores();
  leaseStore = createInProcessLeaseStore();
  folder = await mkdtemp(join(tmpdir(), "creg-share-"));
  await writeFile(join(folder, "token"), "the secret of the replicas");
  [asked, upstreams, refuse, endings] = [[], [], false, []];
});
afterEach(async () => {
  for (const upstream of upstreams) upstream.destroy();
  for (const end of endings) await end();
  await stores.dispose();
  await rm(folder, { recursive: true });
});

/** The upstream sends what the test writes into the streams. */
function createClient(): UpstreamClient {
  const refusal = () => Promise.reject(new UpstreamError("not found", { kind: "not-found", registry: "a.example" }));
  return {
    async headBlob({ repository }) {
      asked.push(`HEAD ${repository}`);
      return refuse ? refusal() : { size: bytes.length };
    },
    async getBlob({ repository, offset = 0 }) {
      asked.push(`GET ${repository} ${offset}`);
      const stream = new PassThrough();
      stream.on("error", () => undefined);
      upstreams.push(stream);
      return { offset, size: bytes.length, stream };
    },
    headManifest: () => Promise.reject(new Error("not asked here")),
    getManifest: () => Promise.reject(new Error("not asked here")),
    referrers: () => Promise.reject(new Error("not asked here")),
    close: async () => {},
  };
}

async function startReplica({ reachable = true } = {}): Promise<Replica> {
  const server = createServer({ logger, name: "replica" });
  const token = createSecretFile(join(folder, "token"));
  const peers = createPeers({ token });
  // The address is known only when it listens.
  let address = "";
  const leases = createLeases({
    store: {
      ...leaseStore,
      close: async () => {},
      acquire: (name, holder, ttl) => leaseStore.acquire(name, { ...holder, address: reachable ? address : null }, ttl),
    },
    address: "",
    logger,
    ttl: TTL,
    renewEvery: TTL / 4,
  });
  const client = createClient();
  const source = createBlobSource({
    ...stores,
    client,
    metrics: createPullThroughMetrics(createMetrics({ defaultMetrics: false })),
    notStored: () => {},
    share: createShareFetch({
      ...stores,
      leases,
      peers,
      vouch: async ({ upstream: registry, path: repository }, of) =>
        void (await client.headBlob({ registry, repository, digest: of })),
      logger,
    }),
  });
  addPeerRoutes(server, {
    id: leases.id,
    token,
    blobs: source,
    pool: createBufferPool(),
    logger,
    uploads: {},
    resolveName: localRepository,
  });
  ({ url: address } = await listen(server, { host: "127.0.0.1", port: 0 }));
  await leases.start();
  const die = async () => {
    server.server.closeAllConnections();
    await Promise.all([server.close(), leases.stop()]);
    peers.close();
  };
  endings.push(die);
  return { source, die };
}

type Download = { readonly received: () => Buffer; readonly whole: Promise<Buffer> };

async function download({ source }: Replica, repository = one): Promise<Download> {
  const location = await source.locate(repository, digest, "foreground");
  const reader = location.kind === "fetching" ? location.fetch.reader() : await stores.blobs.open(digest);
  const chunks: Buffer[] = [];
  const whole = (async () => {
    const buffer = Buffer.alloc(50 * KiB);
    for (let count = await reader.read(buffer); count > 0; count = await reader.read(buffer)) {
      chunks.push(Buffer.from(buffer.subarray(0, count)));
    }
    await reader.close();
    return Buffer.concat(chunks);
  })();
  whole.catch(() => undefined);
  return { received: () => Buffer.concat(chunks), whole };
}

const until = (condition: () => unknown) => vi.waitUntil(condition, { timeout: 10_000, interval: 10 });
const linked = (repository = one, of: Digest = digest) => stores.metadata.isLinked(repository.name, of);

describe("a cold blob asked for at several replicas", () => {
  it("is read upstream once, and arrives everywhere as it comes", async () => {
    const [first, ...others] = [await startReplica(), await startReplica(), await startReplica()];
    if (!first) throw new Error("three replicas");
    const downloads = [await download(first)];
    await until(() => upstreams.length === 1);
    for (const other of others) downloads.push(await download(other), await download(other));
    upstreams[0]?.write(bytes.subarray(0, 400 * KiB));
    // Bytes are shown before the rest was even sent, but for those that wait for the digest.
    await until(() => downloads.every(({ received }) => received().length >= 300 * KiB));
    upstreams[0]?.end(bytes.subarray(400 * KiB));
    for (const { whole } of downloads) expect((await whole).equals(bytes)).toBe(true);
    await until(linked);
    expect(asked).toEqual(["GET one 0"]);
    expect(await leaseStore.list("fetch/")).toEqual([]);
    for (const replica of [first, ...others]) {
      expect((await replica.source.locate(one, digest, "foreground")).kind).toBe("stored");
    }
  });

  it("goes on at another replica where the one that read it died", async () => {
    const [first, second] = [await startReplica(), await startReplica()];
    const dying = await download(first);
    await until(() => upstreams.length === 1);
    const surviving = await download(second);
    upstreams[0]?.write(bytes.subarray(0, 300 * KiB));
    await until(() => surviving.received().length > 100 * KiB);
    await first.die();
    upstreams[0]?.destroy(new Error("gone with the replica"));
    await expect(dying.whole).rejects.toBeInstanceOf(Error);
    await until(() => upstreams.length === 2);
    const offset = Number(asked.at(-1)?.split(" ")[2]);
    expect(offset).toBeGreaterThan(100 * KiB);
    upstreams[1]?.end(bytes.subarray(offset));
    expect((await surviving.whole).equals(bytes)).toBe(true);
    await until(linked);
  });

  it("goes on where its upstream broke off, also while the database is away", async () => {
    const replica = await startReplica();
    const reading = await download(replica);
    await until(() => upstreams.length === 1);
    upstreams[0]?.write(bytes.subarray(0, 300 * KiB));
    await until(() => reading.received().length > 100 * KiB);
    const away = new CodedError("UNAVAILABLE", "the metadata database is not available");
    const asking = vi.spyOn(stores.metadata, "blob").mockRejectedValue(away);
    upstreams[0]?.destroy(new UpstreamError("the connection broke", { kind: "unreachable", registry: "a.example" }));
    await until(() => upstreams.length === 2);
    asking.mockRestore();
    upstreams[1]?.end(bytes.subarray(Number(asked.at(-1)?.split(" ")[2])));
    expect((await reading.whole).equals(bytes)).toBe(true);
    await until(linked);
  });

  it("is given to another repository only after its own upstream was asked", async () => {
    const [first, second] = [await startReplica(), await startReplica()];
    const own = await download(first);
    await until(() => upstreams.length === 1);
    upstreams[0]?.write(bytes.subarray(0, 300 * KiB));
    refuse = true;
    const location = await second.source.locate(two, digest, "foreground");
    if (location.kind !== "fetching") throw new Error("not yet stored");
    await expect(location.fetch.opened).rejects.toMatchObject({ kind: "not-found" });
    refuse = false;
    const other = await download(second, two);
    await until(() => other.received().length > 100 * KiB);
    upstreams[0]?.end(bytes.subarray(300 * KiB));
    expect((await other.whole).equals(bytes)).toBe(true);
    expect((await own.whole).equals(bytes)).toBe(true);
    await until(() => linked(two));
    expect(asked).toEqual(["GET one 0", "HEAD two", "HEAD two"]);
  });

  it("is taken from the store when another brought it there meanwhile", async () => {
    const [first, second] = [await startReplica(), await startReplica()];
    const racing = vi.spyOn(stores.metadata, "blob");
    // Looked for in the moment before it came.
    racing.mockResolvedValueOnce(undefined);
    const writer = await stores.blobs.create();
    await writer.write(bytes);
    await writer.commit(digest);
    await stores.metadata.linkBlob({ repository: two, digest, size: bytes.length, now: Date.now() });
    const late = await download(second);
    expect((await late.whole).equals(bytes)).toBe(true);
    await until(linked);
    expect(asked).toEqual(["HEAD one"]);
    expect((await first.source.locate(one, digest, "foreground")).kind).toBe("stored");
  });

  it("is read twice rather than not at all, when the one that reads it cannot be reached", async () => {
    const [first, second] = [await startReplica({ reachable: false }), await startReplica()];
    const downloads = [await download(first)];
    await until(() => upstreams.length === 1);
    downloads.push(await download(second));
    await until(() => upstreams.length === 2);
    for (const upstream of upstreams) upstream.end(bytes);
    for (const { whole } of downloads) expect((await whole).equals(bytes)).toBe(true);
    expect(asked).toEqual(["GET one 0", "GET one 0"]);
  });

  it("is not given to strangers", async () => {
    const replica = await startReplica();
    const reading = await download(replica);
    await until(() => upstreams.length === 1);
    upstreams[0]?.write(bytes.subarray(0, 300 * KiB));
    const [lease] = await leaseStore.list("replica/");
    const path = `${lease?.address}/peer/blobs/${digest}?registry=a.example&repository=one`;
    const headers = {
      authorization: "Bearer the secret of the replicas",
      "x-cache-registry-replica": lease?.holder ?? "",
    };
    const status = async (url: string, more: Record<string, string>) => {
      const answer = await fetch(url, { headers: more });
      await answer.body?.cancel();
      return answer.status;
    };
    expect(await status(path, {})).toBe(401);
    expect(await status(path, { ...headers, authorization: "Bearer the secret of the replicaz" })).toBe(401);
    expect(await status(path, { ...headers, "x-cache-registry-replica": "0123456789ab" })).toBe(421);
    expect(await status(`${path}&offset=-1`, headers)).toBe(400);
    expect(await status(path.replace("=one", "=two"), headers)).toBe(409);
    expect(await status(path, headers)).toBe(200);
    upstreams[0]?.end(bytes.subarray(300 * KiB));
    await reading.whole;
  });
});

it("a lease that comes when the fetch has ended is given back: the others would wait for nobody", async () => {
  const answer = Promise.withResolvers<Acquired>();
  const release = vi.fn<() => Promise<void>>(async () => {});
  const leases = { id: "a", acquire: () => answer.promise } as Partial<Leases> as Leases;
  const alone = { open: async (offset: number) => ({ offset, stream: new PassThrough() }), commit: async () => {} };
  const peers = { blob: async () => "absent" as const } as Partial<Peers> as Peers;
  const share = createShareFetch({ ...stores, leases, peers, vouch: async () => {}, logger });
  const fetch = share({ digest, repositories: new Map([[one.name, one]]), alone });
  const opening = fetch.open(0);
  await fetch.end();
  answer.resolve({ held: { name: `fetch/${digest}`, lost: false, release } });
  await opening;
  expect(release).toHaveBeenCalledOnce();
});
