import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseManifest } from "@cache-registry/core/manifest";
import { createPullRecorder } from "@cache-registry/registry/access/pull-recorder";
import { createManifestDocuments } from "@cache-registry/registry/content/manifest-documents";
import { type LocalRepository, localRepository } from "@cache-registry/registry/content/repository";
import { createStoreManifest } from "@cache-registry/registry/content/store-manifest";
import { createCollector } from "@cache-registry/registry/gc/collector";
import { createReclaim } from "@cache-registry/registry/gc/reclaim";
import { createUploadSessions } from "@cache-registry/registry/push/upload-sessions";
import { createLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { Secret } from "@cache-registry/runtime/secret";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { content, listAll, readBlob, sha256 } from "@cache-registry/storage/blob-store/conformance/fixtures";
import { createFilesystemBlobStore } from "@cache-registry/storage/blob-store/filesystem";
import { createPostgresDigestLock } from "@cache-registry/storage/blob-store/postgres-digest-lock";
import { createS3BlobStore } from "@cache-registry/storage/blob-store/s3";
import { createPostgresSession } from "@cache-registry/storage/lease-store/postgres-session";
import { createPostgresMetadataStore } from "@cache-registry/storage/metadata-store/postgres";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PostgresServer, startPostgresServer } from "../support/postgres-server.ts";
import { S3_CREDENTIALS, type S3Server, startS3Server } from "../support/s3-server.ts";

const GRACE = 30;
const logger = createLogger({ level: "silent", component: "test" });
let work: string;
let s3: S3Server;
let postgres: PostgresServer;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-races-"));
  [s3, postgres] = await Promise.all([startS3Server(), startPostgresServer()]);
});
afterAll(async () => {
  await Promise.all([s3?.dispose(), postgres?.dispose()]);
  await rm(work, { recursive: true, force: true });
});

/** What happens between the moment when a removal is settled and its end, instead of a pause. */
const late: { hook?: (() => Promise<void>) | undefined } = {};

/** Removals are slow: what was settled may be carried out when the lock has long gone to another. */
function sluggish(store: BlobStore): BlobStore {
  return {
    ...store,
    remove: (digest, generation, confirm) =>
      store.remove(digest, generation, async () => {
        await confirm?.();
        await (late.hook?.() ?? pause(Math.random() * 60));
      }),
  };
}

/** What pushes and collects, of one replica, without its HTTP. */
async function openReplica(url: string, raw: BlobStore) {
  const metadata = createPostgresMetadataStore({ url: new Secret(url), connections: 8, grace: GRACE });
  const session = createPostgresSession({ config: async () => ({ connectionString: url }) });
  const digestLock = createPostgresDigestLock(session);
  const blobs = sluggish(raw);
  await metadata.start();
  await raw.start();
  const documents = createManifestDocuments(blobs, digestLock);
  const pulls = createPullRecorder({ metadata, logger, shared: true });
  const metrics = createMetrics({ defaultMetrics: false });
  const uploads = createUploadSessions({ blobs, metadata, digestLock });
  return {
    metadata,
    blobs,
    uploads,
    storeManifest: createStoreManifest({ blobs, metadata, documents, digestLock }),
    collector: createCollector({
      metadata,
      reclaim: createReclaim({ blobs, metadata, digestLock, pulls }),
      uploads,
      pulls,
      rules: { grace: GRACE, untaggedLocal: "keep", unusedFor: 1e9 },
      uploadIdle: 60_000,
      logger,
      metrics,
    }),
    /** The server ends its connection for leases and locks, as in a fail-over. */
    async loseLocks() {
      const connection = await session.connection();
      await connection.query("SELECT pg_terminate_backend(pg_backend_pid())").catch(() => undefined);
    },
    async close() {
      await session.close();
      await metadata.close();
      await raw.close();
    },
  };
}

const layers = [1, 2].map((seed) => content(3_000 * seed, seed));
const config = content(100, 9);

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(bytes);
}

/** Few contents, so that everybody writes and removes the same ones. */
function manifestOf(layer: Buffer, repository: string): Buffer {
  const descriptor = (bytes: Buffer) => ({
    mediaType: "application/octet-stream",
    digest: sha256(bytes),
    size: bytes.length,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: descriptor(config),
      layers: [descriptor(layer)],
      annotations: { repository },
    }),
  );
}

/** The manifest's bytes, once all is acknowledged. */
async function pushImage(
  { uploads, storeManifest }: Awaited<ReturnType<typeof openReplica>>,
  repository: LocalRepository,
  layer: Buffer,
): Promise<Buffer> {
  for (const bytes of [config, layer]) {
    await uploads.receive(repository, { digest: sha256(bytes), body: once(bytes) });
  }
  const manifest = manifestOf(layer, repository.name);
  const parsed = parseManifest(manifest, undefined);
  const digest = sha256(manifest);
  const image = { repository, digest, bytes: manifest, parsed, tags: ["v1"], requireReferences: true };
  const { missing } = await storeManifest(image);
  if (missing.length > 0) throw new Error("collected in between");
  return manifest;
}

describe.each([
  [
    "a bucket",
    (name: string, replica: string): BlobStore =>
      createS3BlobStore({
        location: s3.location,
        prefix: `${name}/`,
        shared: true,
        credentials: async () => S3_CREDENTIALS,
        spool: join(work, `${name}-${replica}`),
      }),
  ],
  [
    "a file system",
    (name: string, replica: string): BlobStore => createFilesystemBlobStore({ path: join(work, name), replica }),
  ],
])("replicas on PostgreSQL and %s", (kind, openStore) => {
  it("keep what was acknowledged after a removal was settled whose lock was lost", async () => {
    const url = await postgres.database();
    const one = await openReplica(url, openStore(`late-${kind.length}`, "one"));
    const two = await openReplica(url, openStore(`late-${kind.length}`, "two"));
    const [layer = config] = layers;
    const first = localRepository("late/first");
    await one.uploads.receive(first, { digest: sha256(config), body: once(config) });
    await one.metadata.unlinkBlob("late/first", sha256(config), Date.now());
    await pause(2 * GRACE);
    let pushed = 0;
    late.hook = async () => {
      late.hook = async () => undefined;
      await one.loseLocks();
      await pushImage(two, localRepository("late/second"), layer);
      pushed += 1;
    };
    // The removal was allowed and is carried out too late; nobody can tell the collector in time.
    await one.collector.fullPass().finally(() => {
      late.hook = undefined;
    });
    expect(pushed).toBe(1);
    for (const { metadata, blobs } of [one, two]) {
      expect(await metadata.isLinked("late/second", sha256(config))).toBe(true);
      expect((await readBlob(blobs, sha256(config))).equals(config)).toBe(true);
    }
    await Promise.all([one.close(), two.close()]);
  });

  it("acknowledge nothing whose bytes another may have taken meanwhile", async () => {
    const url = await postgres.database();
    const one = await openReplica(url, openStore(`lost-${kind.length}`, "one"));
    const two = await openReplica(url, openStore(`lost-${kind.length}`, "two"));
    // Something is held, or a sweep would not believe the database.
    await two.uploads.receive(localRepository("lost/other"), { digest: sha256(config), body: once(config) });
    const [layer = config] = layers;
    const link = one.metadata.linkBlob.bind(one.metadata);
    one.metadata.linkBlob = async (of) => {
      // The bytes are there and no row: the other takes them for an orphan as soon as the lock is free.
      await one.loseLocks();
      await two.collector.fullPass();
      return link(of);
    };
    const pushing = one.uploads.receive(localRepository("lost/app"), { digest: sha256(layer), body: once(layer) });
    await expect(pushing).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await two.blobs.stat(sha256(layer))).toBeUndefined();
    await Promise.all([one.close(), two.close()]);
  });

  it("push and collect the same content, lose locks all the time, and lose nothing acknowledged", async () => {
    const url = await postgres.database();
    const name = kind.replace(" ", "-");
    const replicas = [await openReplica(url, openStore(name, "one")), await openReplica(url, openStore(name, "two"))];
    const disturber = new pg.Client({ connectionString: url });
    disturber.on("error", () => undefined);
    await disturber.connect();
    const kept = new Map<string, { readonly layer: Buffer; readonly manifest: Buffer }>();
    const counts = { pushed: 0, refused: 0, deleted: 0, cut: 0, removedBlobs: 0 };
    const until = Date.now() + 12_000;
    const going = () => Date.now() < until;
    let serial = 0;

    async function push(replica: (typeof replicas)[number]): Promise<void> {
      const repository = localRepository(`race/r${serial++}`);
      const layer = layers[Math.floor(Math.random() * layers.length)] ?? config;
      try {
        const manifest = await pushImage(replica, repository, layer);
        kept.set(repository.name, { layer, manifest });
        counts.pushed += 1;
      } catch {
        counts.refused += 1;
      }
    }

    async function drop({ metadata }: (typeof replicas)[number]): Promise<void> {
      const [oldest] = kept;
      if (!oldest || (kept.size < 3 && Math.random() < 0.5)) return pause(5).then(() => undefined);
      const [repository, { manifest }] = oldest;
      // Whatever becomes of it, nothing is expected of this one any more.
      kept.delete(repository);
      if (await metadata.deleteManifest(repository, sha256(manifest), Date.now()).catch(() => false))
        counts.deleted += 1;
    }

    const loop = async (task: () => Promise<void>): Promise<void> => {
      while (going()) await task();
    };
    await Promise.all([
      ...replicas.flatMap((replica) => [
        loop(() => push(replica)),
        loop(() => push(replica)),
        loop(() => drop(replica)),
        loop(() => drop(replica)),
        loop(async () => {
          const report = await replica.collector.fullPass().catch(() => undefined);
          counts.removedBlobs += (report?.removedBlobs ?? 0) + (report?.removedOrphans ?? 0);
        }),
      ]),
      loop(async () => {
        await pause(150);
        const { rows } = await disturber.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%leases and locks' AND datname = current_database()",
        );
        counts.cut += rows.length;
      }),
    ]);

    const lost: string[] = [];
    for (const [repository, { layer, manifest }] of kept) {
      for (const bytes of [config, layer, manifest]) {
        for (const { metadata, blobs } of replicas) {
          const held = (await metadata.isLinked(repository, sha256(bytes))) && (await metadata.blob(sha256(bytes)));
          const read = await readBlob(blobs, sha256(bytes)).catch(() => undefined);
          if (!held || !read?.equals(bytes))
            lost.push(`${repository} ${sha256(bytes)} ${Boolean(held)} ${Boolean(read)}`);
        }
      }
    }
    expect(lost).toEqual([]);
    for (const [what, count] of Object.entries(counts)) expect([what, count > 2]).toEqual([what, true]);

    // And what nobody needs goes: also of pushes that were not acknowledged.
    const [first] = replicas;
    if (!first) throw new Error("two replicas");
    for (const { name: repository } of await first.metadata.listRepositories({ limit: 10_000 })) {
      const tag = await first.metadata.tag(repository, "v1");
      if (tag) await first.metadata.deleteManifest(repository, tag.digest, Date.now());
    }
    for (let round = 0; round < 10; round += 1) {
      await pause(2 * GRACE);
      // What failed is left alone for a while.
      await disturber.query("UPDATE reviews SET review_after = 0");
      await replicas[round % 2]?.collector.fullPass();
    }
    expect((await first.metadata.usage()).blobs).toBe(0);
    expect(await listAll(first.blobs.list())).toEqual([]);
    await disturber.end();
    for (const replica of replicas) await replica.close();
  });
});
