import { Readable } from "node:stream";
import { digestOfBytes } from "@cache-registry/core/verify";
import type { UpstreamBlob, UpstreamClient } from "@cache-registry/registry-client/client";
import { UpstreamError } from "@cache-registry/registry-client/upstream-error";
import { createMetrics } from "@cache-registry/runtime/metrics";
import type { Urgency } from "@cache-registry/runtime/wait-queue";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { upstreamRepository } from "../content/repository.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { type BlobSource, createBlobSource } from "./blob-source.ts";
import { createPullThroughMetrics } from "./pull-through-metrics.ts";

const bytes = Buffer.from("the bytes of a layer");
const digest = digestOfBytes(bytes);
const [one, two] = [upstreamRepository("a.example", "one"), upstreamRepository("a.example", "two")];

let stores: TestStores;
let source: BlobSource;
let asked: string[];
let head: () => Promise<{ size: number | undefined }>;
let priorities: Urgency[];
let get: () => Promise<UpstreamBlob>;

const answer = (): UpstreamBlob => ({ offset: 0, size: bytes.length, stream: Readable.from([bytes]) });
const notFound = () => Promise.reject(new UpstreamError("not found", { kind: "not-found", registry: "a.example" }));

beforeEach(async () => {
  stores = await openTestStores();
  asked = [];
  priorities = [];
  head = async () => ({ size: bytes.length });
  get = async () => answer();
  const client: UpstreamClient = {
    headBlob: ({ repository }) => {
      asked.push(`HEAD ${repository}`);
      return head();
    },
    getBlob: ({ repository, priority }) => {
      asked.push(`GET ${repository}`);
      if (typeof priority === "object") priorities.push(priority);
      return get();
    },
    headManifest: () => Promise.reject(new Error("not asked here")),
    getManifest: () => Promise.reject(new Error("not asked here")),
    referrers: () => Promise.reject(new Error("not asked here")),
    close: async () => {},
  };
  source = createBlobSource({
    ...stores,
    client,
    metrics: createPullThroughMetrics(createMetrics({ defaultMetrics: false })),
    notStored: () => {},
  });
});
afterEach(() => stores.dispose());

async function fetchWhole(repository = one) {
  const location = await source.locate(repository, digest, "foreground");
  if (location.kind === "fetching") await location.fetch.finished;
  return location;
}

describe("createBlobSource", () => {
  it("fetches once for everybody who asks, and then has it", async () => {
    const locations = await Promise.all([1, 2, 3].map(() => source.locate(one, digest, "foreground")));
    expect(locations.map((location) => location.kind === "fetching" && location.joined)).toEqual([false, true, true]);
    for (const location of locations) if (location.kind === "fetching") await location.fetch.finished;
    expect(await source.locate(one, digest, "foreground")).toEqual({ kind: "stored", size: bytes.length });
    expect(asked).toEqual(["GET one"]);
    expect(source.running(one, digest)).toBeUndefined();
  });

  it("lets a pull that joins a warm-up take it along in the queue for the upstream", async () => {
    const gate = Promise.withResolvers<UpstreamBlob>();
    get = () => gate.promise;
    const warming = await source.locate(one, digest, "background");
    await vi.waitFor(() => expect(priorities).toHaveLength(1));
    expect(priorities[0]?.current).toBe("background");
    await source.locate(one, digest, "background");
    expect(priorities[0]?.current).toBe("background");
    await source.locate(one, digest, "foreground");
    expect(priorities[0]?.current).toBe("foreground");
    gate.resolve(answer());
    if (warming.kind === "fetching") await warming.fetch.finished;
    expect(asked).toEqual(["GET one"]);
  });

  it("links another repository only after its upstream vouched for the blob", async () => {
    await fetchWhole();
    head = notFound;
    await expect(source.locate(two, digest, "foreground")).rejects.toThrow("not found");
    expect(await stores.metadata.isLinked(two.name, digest)).toBe(false);
    head = async () => ({ size: bytes.length });
    expect(await source.locate(two, digest, "foreground")).toEqual({ kind: "stored", size: bytes.length });
    expect(asked).toEqual(["GET one", "HEAD two", "HEAD two"]);
  });

  it("lets another repository join a running fetch after vouching, and links both", async () => {
    const arriving = Promise.withResolvers<UpstreamBlob>();
    get = () => arriving.promise;
    const first = await source.locate(one, digest, "foreground");
    const second = await source.locate(two, digest, "foreground");
    expect(second).toMatchObject({ kind: "fetching", joined: true });
    arriving.resolve(answer());
    if (first.kind === "fetching") await first.fetch.finished;
    expect(await stores.metadata.isLinked(one.name, digest)).toBe(true);
    expect(await stores.metadata.isLinked(two.name, digest)).toBe(true);
    expect(asked).toEqual(["GET one", "HEAD two"]);
  });

  it("does not wait for the fetch of another registry, which may be slow or lie", async () => {
    const elsewhere = upstreamRepository("slow.example", "one");
    const never = Promise.withResolvers<UpstreamBlob>();
    get = () => never.promise;
    const slow = await source.locate(elsewhere, digest, "foreground");
    get = async () => answer();
    expect(await fetchWhole(one)).toMatchObject({ kind: "fetching", joined: false });
    expect(await source.locate(one, digest, "foreground")).toMatchObject({ kind: "stored" });
    // The slow one ends well too, and both are linked.
    never.resolve(answer());
    if (slow.kind === "fetching") await slow.fetch.finished;
    expect(await stores.metadata.isLinked(elsewhere.name, digest)).toBe(true);
    expect(await stores.metadata.isLinked(one.name, digest)).toBe(true);
  });

  it("does not fetch again when the other fetch ends while the upstream vouches", async () => {
    const arriving = Promise.withResolvers<UpstreamBlob>();
    get = () => arriving.promise;
    const first = await source.locate(one, digest, "foreground");
    const vouching = Promise.withResolvers<{ size: number }>();
    head = () => vouching.promise;
    const second = source.locate(two, digest, "foreground");
    await expect.poll(() => asked).toContain("HEAD two");
    arriving.resolve(answer());
    if (first.kind === "fetching") await first.fetch.finished;
    vouching.resolve({ size: bytes.length });
    expect(await second).toEqual({ kind: "stored", size: bytes.length });
    expect(asked).toEqual(["GET one", "HEAD two"]);
  });

  it("remembers no failure: the next request asks anew", async () => {
    get = notFound;
    await expect(fetchWhole()).rejects.toThrow("not found");
    get = async () => answer();
    expect(await fetchWhole()).toMatchObject({ kind: "fetching", joined: false });
    expect(await source.locate(one, digest, "foreground")).toMatchObject({ kind: "stored" });
  });
});
