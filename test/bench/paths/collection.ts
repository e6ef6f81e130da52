import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistryApi } from "../../support/registry-api.ts";
import { makeImage } from "../../support/test-content.ts";
import { startClient } from "../client/client.ts";
import { fillWithGarbage } from "../data/filled-store.ts";
import { type Figure, OURS } from "../measure.ts";
import { type OurPeer, ourData, startOurs } from "../peers.ts";

const BLOBS = 100_000;
const LAYER = 64 * 1024;
const SECONDS = 2;
/** Windows in which it was idle: at least as many requests as it takes for a 99th percentile that means something. */
const IDLE_WINDOWS = 8;
/** The collection is watched no longer than that, in milliseconds. */
const LIMIT_MS = 240_000;

async function collected({ management }: OurPeer): Promise<number> {
  const text = await (await fetch(`${management}/metrics`)).text();
  return Number(/gc_removed_total\{kind="blob"\} (\d+)/.exec(text)?.[1] ?? 0);
}

function percentile99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

/** Pulls at a steady pace while the collector works, and when it has nothing more to do. */
export async function collection(): Promise<Figure[]> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-collection-"));
  const client = startClient();
  let ours: OurPeer | undefined;
  try {
    await fillWithGarbage(ourData(dir), BLOBS);
    ours = await startOurs({ dir });
    const started = performance.now();
    const image = makeImage([LAYER]);
    await createRegistryApi(ours.url).pushImage("bench/kept", "latest", image);
    const paths = ["manifests/latest", `blobs/${image.blobs.at(-1)?.digest}`];
    const urls = paths.map((path) => `${ours?.url}/v2/bench/kept/${path}`);
    const window = () => client.run({ kind: "latencies", urls, seconds: SECONDS, pause: 2 });
    // The first requests of a process are slow whatever else it does.
    await window();
    const busy: number[] = [];
    while ((await collected(ours)) < BLOBS && performance.now() - started < LIMIT_MS) busy.push(...(await window()));
    const removed = await collected(ours);
    const seconds = (performance.now() - started) / 1000;
    const idle: number[] = [];
    for (let turn = 0; turn < IDLE_WINDOWS && removed >= BLOBS; turn += 1) idle.push(...(await window()));
    const values = (all: number[]) => ({ values: [percentile99(all)], median: percentile99(all) });
    return [
      {
        name: `p99 of pulls while ${BLOBS.toLocaleString("en-US")} unreferenced blobs are collected`,
        unit: "ms",
        better: "lower",
        goals: [{ peer: "idle", factor: 2, orPlus: 5 }],
        note: `${removed.toLocaleString("en-US")} blobs in ${seconds.toFixed(0)} s; ${busy.length} and ${idle.length} pulls of a manifest or a 64 KiB blob`,
        samples: [
          { peer: OURS, ...values(busy) },
          { peer: "idle", ...values(idle) },
        ],
      },
    ];
  } finally {
    client.close();
    await ours?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
