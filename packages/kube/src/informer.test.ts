import { PassThrough, Readable } from "node:stream";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, describe, expect, it } from "vitest";
import { ApiError } from "./api-error.ts";
import type { KubeClient, ListOptions } from "./client.ts";
import { createInformer, type Informer, type InformerTiming } from "./informer.ts";
import { PODS } from "./resource.ts";
import type { Pod } from "./workloads.ts";

type List = { names: string[]; version: string; continue?: string };

function pod(name: string, resourceVersion: string): Pod {
  return { metadata: { name, namespace: "ns", uid: name, resourceVersion } };
}

function line(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

const bookmark = (version: string): string => line("BOOKMARK", { metadata: { resourceVersion: version } });
const expired = line("ERROR", { kind: "Status", code: 410, reason: "Expired", message: "too old" });

/** An API server as a script: what each list and each watch gets, in order. The last of each is repeated. */
function script(options: { lists: (List | Error)[]; watches: (() => Readable)[] }) {
  const lists: ListOptions[] = [];
  const watched: string[] = [];
  const take = <T>(queue: T[]): T => (queue.length > 1 ? (queue.shift() as T) : (queue[0] as T));
  const client = {
    async list(_resource: unknown, asked: ListOptions) {
      lists.push(asked);
      const next = take(options.lists);
      if (next instanceof Error) throw next;
      const items = next.names.map((name) => pod(name, next.version));
      return { items, metadata: { resourceVersion: next.version, continue: next.continue } };
    },
    async watch(_resource: unknown, { resourceVersion, signal }: { resourceVersion: string; signal?: AbortSignal }) {
      watched.push(resourceVersion);
      const stream = take(options.watches)();
      signal?.addEventListener("abort", () => stream.destroy(signal.reason as Error), { once: true });
      return stream;
    },
  } as unknown as KubeClient;
  return { client, lists, watched };
}

const ending: AbortController[] = [];
afterEach(() => {
  for (const controller of ending.splice(0)) controller.abort(new Error("the test is over"));
});

function start(client: KubeClient, timing: Partial<InformerTiming> = {}) {
  const metrics = createMetrics({ defaultMetrics: false });
  const informer = createInformer({
    client,
    resource: PODS,
    transform: (object: Pod) => object.metadata.resourceVersion,
    logger: silentLogger(),
    metrics,
    timing: { retryInitial: 1, retryMax: 5, ...timing },
  });
  const changes: string[] = [];
  informer.onChange(({ type, key }) => changes.push(`${type} ${key}`));
  const controller = new AbortController();
  ending.push(controller);
  const running = informer.run(controller.signal);
  return { informer, metrics, changes, running, stop: () => controller.abort(new Error("stop")) };
}

async function until(condition: () => boolean | undefined): Promise<void> {
  await expect.poll(condition, { timeout: 3_000, interval: 5 }).toBe(true);
}

const names = (informer: Informer<unknown, Pod>): string[] => [...informer.keys()].sort();
const quiet = (): Readable => new PassThrough();
const sending =
  (...lines: string[]) =>
  () => {
    const stream = new PassThrough();
    for (const text of lines) stream.write(text);
    return stream;
  };
const ended =
  (...lines: string[]) =>
  () =>
    Readable.from(lines);
const cut =
  (...lines: string[]) =>
  () => {
    const stream = sending(...lines)();
    setTimeout(() => stream.destroy(new Error("ECONNRESET")), 20);
    return stream;
  };
const failing = (error: Error) => (): Readable => {
  throw error;
};

describe("createInformer", () => {
  it("lists page by page, then watches from there", async () => {
    const { client, lists, watched } = script({
      lists: [
        { names: ["a", "b"], version: "10", continue: "next" },
        { names: ["c"], version: "10" },
      ],
      watches: [
        sending(line("ADDED", pod("d", "11")), line("MODIFIED", pod("a", "12")), line("DELETED", pod("b", "13"))),
      ],
    });
    const { informer, changes } = start(client);
    await informer.synced(AbortSignal.timeout(1_000));
    await until(() => changes.length === 6);
    expect(lists.map((asked) => [asked.limit, asked.continue])).toEqual([
      [500, undefined],
      [500, "next"],
    ]);
    expect(watched).toEqual(["10"]);
    expect(names(informer)).toEqual(["ns/a", "ns/c", "ns/d"]);
    expect(informer.get("ns/a")).toBe("12");
  });

  it("goes on from the last bookmark when the server ends the watch", async () => {
    const { client, lists, watched } = script({
      lists: [{ names: [], version: "10" }],
      watches: [ended(line("ADDED", pod("a", "11")), bookmark("20")), quiet],
    });
    const { informer } = start(client);
    await until(() => watched.length === 2);
    expect(watched).toEqual(["10", "20"]);
    expect(lists).toHaveLength(1);
    expect(names(informer)).toEqual(["ns/a"]);
  });

  it("goes on from the last event when the connection is cut", async () => {
    const { client, lists, watched } = script({
      lists: [{ names: [], version: "10" }],
      watches: [cut(line("ADDED", pod("a", "11"))), quiet],
    });
    start(client);
    await until(() => watched.length === 2);
    expect(watched[1]).toBe("11");
    expect(lists).toHaveLength(1);
  });

  it.each([
    ["a 410 in the stream", ended(expired)],
    ["a line that is no JSON", ended("{garbage\n")],
    ["an event cut in the middle", ended('{"type":"ADDED","obj')],
    ["an event without an object", ended('{"type":"ADDED"}\n')],
    ["an event of an unknown type", ended(line("SURPRISE", pod("x", "1")))],
    ["a 410 instead of a watch", failing(new ApiError(410, { kind: "Status", reason: "Expired" }))],
    ["a 500 instead of a watch", failing(new ApiError(500, {}))],
    ["a 504 for a version from the future", failing(new ApiError(504, { kind: "Status", reason: "Timeout" }))],
  ])("lists again after %s, and finds what it missed", async (_, broken) => {
    const { client, changes } = lossy([broken, quiet]);
    await until(() => changes.includes("added ns/new") && changes.includes("deleted ns/old"));
    expect(client.lists.length).toBe(2);
  });

  function lossy(watches: (() => Readable)[], timing: Partial<InformerTiming> = {}) {
    const client = script({
      lists: [
        { names: ["old"], version: "10" },
        { names: ["new"], version: "20" },
      ],
      watches,
    });
    return { client, ...start(client.client, timing) };
  }

  it("lists again when a watch falls silent, bookmarks included", async () => {
    const { changes, metrics } = lossy([quiet, quiet], { stallTimeout: 40 });
    await until(() => changes.includes("added ns/new"));
    expect(await metrics.text()).toMatch(/kube_watch_restarts_total\{resource="pods",reason="stalled"\} [1-9]/);
  });

  it("takes bookmarks for signs of life", async () => {
    const stream = new PassThrough();
    const timer = setInterval(() => stream.write(bookmark("11")), 20);
    const { client } = lossy([() => stream], { stallTimeout: 100 });
    await new Promise((resolve) => setTimeout(resolve, 400));
    clearInterval(timer);
    expect(client.watched).toEqual(["10"]);
  });

  it("waits as long as Retry-After says", async () => {
    const busy = new ApiError(429, {}, "0.2");
    const { client, changes } = lossy([failing(busy), ended(expired), quiet]);
    const began = performance.now();
    await until(() => client.watched.length >= 2);
    expect(performance.now() - began).toBeGreaterThan(180);
    await until(() => changes.includes("added ns/new"));
  });

  it("lists from the beginning when a continue token has expired", async () => {
    const { client, lists } = script({
      lists: [
        { names: ["a"], version: "10", continue: "next" },
        new ApiError(410, { kind: "Status", reason: "Expired" }),
        { names: ["a", "b"], version: "11" },
      ],
      watches: [quiet],
    });
    const { informer } = start(client);
    await informer.synced(AbortSignal.timeout(1_000));
    expect(names(informer)).toEqual(["ns/a", "ns/b"]);
    expect(lists.map((asked) => asked.continue)).toEqual([undefined, "next", undefined]);
  });

  it("never gives up: a hundred failures of the first list", async () => {
    const failures = Array.from({ length: 100 }, () => new Error("ECONNREFUSED"));
    const { client } = script({ lists: [...failures, { names: ["a"], version: "1" }], watches: [quiet] });
    const { informer } = start(client, { retryInitial: 0.1, retryMax: 1 });
    expect(informer.problem()).toContain("pods not listed yet");
    await informer.synced(AbortSignal.timeout(5_000));
    await until(() => informer.problem() === undefined);
  });

  it("lists again from time to time although nothing broke", async () => {
    const { client, changes } = lossy([ended(bookmark("11")), quiet], { relistInterval: 0 });
    await until(() => changes.includes("added ns/new"));
    expect(client.lists.length).toBeGreaterThan(1);
  });

  it("sees its own writes before the watch brings them, and only once", async () => {
    const stream = new PassThrough();
    const { client } = script({ lists: [{ names: [], version: "10" }], watches: [() => stream] });
    const { informer, changes } = start(client);
    await informer.synced(AbortSignal.timeout(1_000));
    informer.observe(pod("a", "11"));
    expect(informer.get("ns/a")).toBe("11");
    stream.write(line("ADDED", pod("a", "11")) + line("ADDED", pod("b", "12")));
    await until(() => changes.includes("added ns/b"));
    expect(changes).toEqual(["added ns/a", "added ns/b"]);
  });

  it("reads events that arrive in pieces, also within a character", async () => {
    const stream = new PassThrough();
    const { client } = script({ lists: [{ names: [], version: "10" }], watches: [() => stream] });
    const { informer } = start(client);
    await informer.synced(AbortSignal.timeout(1_000));
    for (const byte of Buffer.from(line("ADDED", pod("grün", "11")))) stream.write(Buffer.of(byte));
    await until(() => informer.size === 1);
    expect(names(informer)).toEqual(["ns/grün"]);
  });

  it("ends at the signal, and `synced` with it", async () => {
    const { client } = script({ lists: [new Error("down")], watches: [quiet] });
    const { informer, running, stop } = start(client);
    const waiting = new AbortController();
    const synced = informer.synced(waiting.signal);
    waiting.abort(new Error("no longer"));
    await expect(synced).rejects.toThrow("no longer");
    stop();
    await expect(running).resolves.toBeUndefined();
  });
});
