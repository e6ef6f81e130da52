import { digestOfBytes } from "@cache-registry/core/verify";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPullRecorder, type PullRecorder } from "../access/pull-recorder.ts";
import { localRepository } from "../content/repository.ts";
import { createUploadSessions, type UploadSessions } from "../push/upload-sessions.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { type Collector, createCollector } from "./collector.ts";
import { createReclaim } from "./reclaim.ts";

const repository = localRepository("team/app");
const rules = { grace: 0, untaggedLocal: "keep" as const, unusedFor: 1_000 };
let stores: TestStores;
let pulls: PullRecorder;
let uploads: UploadSessions;

beforeEach(async () => {
  stores = await openTestStores();
  pulls = createPullRecorder({ metadata: stores.metadata, logger: silentLogger() });
  uploads = createUploadSessions(stores);
});
afterEach(async () => {
  vi.useRealTimers();
  await stores.dispose();
});

function collector(grace = 0, retryAfter = 1): Collector {
  const reclaim = createReclaim({ ...stores, pulls });
  const metrics = createMetrics({ defaultMetrics: false });
  const logger = silentLogger();
  const { metadata } = stores;
  return createCollector({
    metadata,
    reclaim,
    uploads,
    pulls,
    rules: { ...rules, grace },
    uploadIdle: 0,
    retryAfter,
    logger,
    metrics,
  });
}

async function push(text: string) {
  const bytes = Buffer.from(text);
  const digest = digestOfBytes(bytes);
  await uploads.receive(repository, {
    digest,
    body: (async function* () {
      yield bytes;
    })(),
  });
  return digest;
}

describe("stop", () => {
  it("ends a full pass that is under way, also while it looks at all bytes there are", async () => {
    await push("kept");
    const list = stores.blobs.list.bind(stores.blobs);
    const began = Promise.withResolvers<void>();
    stores = {
      ...stores,
      blobs: {
        ...stores.blobs,
        async *list() {
          for (const deadline = Date.now() + 3_000; Date.now() < deadline; began.resolve()) {
            yield* list();
            await new Promise((resolve) => setImmediate(resolve));
          }
        },
      },
    };
    const collecting = collector();
    const pass = collecting.fullPass();
    await began.promise;
    const asked = performance.now();
    await collecting.stop();
    await pass;
    expect(performance.now() - asked).toBeLessThan(1_500);
  });
});

describe("fullPass", () => {
  it("removes what nothing refers to, sessions, and bytes without a row", async () => {
    const digest = await push("unreferenced");
    await uploads.begin(repository);
    const writer = await stores.blobs.create();
    await writer.write(Buffer.from("orphan"));
    const orphan = digestOfBytes(Buffer.from("orphan"));
    await writer.commit(orphan);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const report = await collector().fullPass();
    expect(report).toMatchObject({
      dryRun: false,
      removedManifests: 0,
      removedBlobs: 1,
      freedBytes: "unreferenced".length,
      purgedUploads: 1,
      removedOrphans: 1,
      removed: [{ kind: "blob", digest, size: "unreferenced".length, reason: "blob_linked" }],
      truncated: false,
    });
    expect(await stores.blobs.stat(digest)).toBeUndefined();
    expect(await stores.blobs.stat(orphan)).toBeUndefined();
    expect(await stores.metadata.blob(digest)).toBeUndefined();
  });

  it("leaves alone what somebody was told of within the grace, although it is not written down yet", async () => {
    const digest = await push("told of");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 120_000 });
    pulls.touched("team/app", digest);
    expect(await collector(60_000).fullPass()).toMatchObject({ removedBlobs: 0 });
    expect(await stores.metadata.isLinked("team/app", digest)).toBe(true);
    vi.setSystemTime(Date.now() + 61_000);
    expect(await collector(60_000).fullPass()).toMatchObject({ removedBlobs: 1 });
  });

  it("keeps bytes without a row while there is no row for anything: the database was lost, not they", async () => {
    const writer = await stores.blobs.create();
    await writer.write(Buffer.from("all that is left"));
    const digest = digestOfBytes(Buffer.from("all that is left"));
    await writer.commit(digest);
    expect(await collector().fullPass()).toMatchObject({ removedOrphans: 0 });
    expect(await stores.blobs.stat(digest)).toBeDefined();
  });

  it("is joined by who asks for another meanwhile", async () => {
    const running = collector();
    const [first, second] = await Promise.all([running.fullPass(), running.fullPass()]);
    expect(second).toBe(first);
  });

  it("goes on with the rest when one removal fails, and finishes it later", async () => {
    const [bad, good] = [await push("bad"), await push("good")];
    const remove = stores.blobs.remove.bind(stores.blobs);
    stores.blobs.remove = (digest, generation) =>
      digest === bad ? Promise.reject(new Error("EIO")) : remove(digest, generation);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await collector().fullPass()).toMatchObject({ removedBlobs: 1, failedReviews: 1 });
    expect(await stores.blobs.stat(good)).toBeUndefined();
    expect(await stores.metadata.blob(bad)).toBeUndefined();
    stores.blobs.remove = remove;
    expect(await collector().fullPass()).toMatchObject({ removedBlobs: 1 });
    expect(await stores.blobs.stat(bad)).toBeUndefined();
  });
});

describe("reviews that fail", () => {
  it("do not keep the others waiting, however many they are", async () => {
    const bad = new Set(await Promise.all(Array.from({ length: 120 }, (_, index) => push(`bad ${index}`))));
    const good = await push("good");
    const remove = stores.blobs.remove.bind(stores.blobs);
    stores.blobs.remove = (digest, ...more) =>
      bad.has(digest) ? Promise.reject(new Error("EIO")) : remove(digest, ...more);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const running = collector(0, 60_000);
    expect(await running.fullPass()).toMatchObject({ removedBlobs: 1, failedReviews: 120 });
    expect(await stores.blobs.stat(good)).toBeUndefined();
    expect(await running.fullPass()).toMatchObject({ removedBlobs: 0, failedReviews: 0 });
  });
});

describe("preview", () => {
  it("tells what a full pass would do, and does nothing", async () => {
    const digest = await push("unreferenced");
    await uploads.begin(repository);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const running = collector();
    expect(running.lastReport()).toBeUndefined();
    const report = await running.preview();
    expect(report).toMatchObject({ dryRun: true, removedBlobs: 1, purgedUploads: 1, removed: [{ digest }] });
    expect(running.lastReport()).toBe(report);
    expect(await stores.blobs.stat(digest)).toBeDefined();
    expect(await running.fullPass()).toMatchObject({ removedBlobs: 1, purgedUploads: 1 });
    expect(running.lastReport()).toMatchObject({ dryRun: false });
  });
});

describe("start", () => {
  it("finishes what a crash interrupted, and does not fail when it cannot", async () => {
    const digest = await push("half deleted");
    await new Promise((resolve) => setTimeout(resolve, 5));
    await stores.metadata.beginBlobDeletion(digest, { ...rules, now: Date.now() });
    const remove = stores.blobs.remove.bind(stores.blobs);
    stores.blobs.remove = () => Promise.reject(new Error("EIO"));
    const hindered = collector();
    await hindered.start();
    await hindered.stop();
    expect(await stores.blobs.stat(digest)).toBeDefined();
    stores.blobs.remove = remove;
    const running = collector();
    await running.start();
    await running.stop();
    expect(await stores.blobs.stat(digest)).toBeUndefined();
    expect(await stores.metadata.deletingBlobs(10)).toEqual([]);
  });
});
