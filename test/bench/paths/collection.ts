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
const IDLE_WINDOWS = 6;
/** The collection is watched no longer than that, in milliseconds. */
const LIMIT_MS = 60_000;

async function collected({ management }: OurPeer): Promise<number> {
  const text = await (await fetch(`${management}/metrics`)).text();
  return Number(/gc_removed_total\{kind="blob"\} (\d+)/.exec(text)?.[1] ?? 0);
}

function percentile99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

/** Pulls at a steady pace from a registry that has nothing else to do, and from one whose collector works. */
export async function collection(): Promise<Figure[]> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-collection-"));
  const client = startClient();
  const peers: OurPeer[] = [];
  const image = makeImage([LAYER]);
  const open = async (name: string) => {
    const peer = await startOurs({ dir: join(dir, name) });
    const startedAt = performance.now();
    peers.push(peer);
    await createRegistryApi(peer.url).pushImage("bench/kept", "latest", image);
    const paths = ["manifests/latest", `blobs/${image.blobs.at(-1)?.digest}`];
    const urls = paths.map((path) => `${peer.url}/v2/bench/kept/${path}`);
    const window = () => client.run({ kind: "latencies", urls, seconds: SECONDS, pause: 2 });
    // The first requests of a process are slow whatever else it does.
    await window();
    return { peer, startedAt, window };
  };
  try {
    await fillWithGarbage(ourData(join(dir, "busy")), BLOBS);
    const idle = await open("idle");
    const whileIdle: number[] = [];
    for (let turn = 0; turn < IDLE_WINDOWS; turn += 1) whileIdle.push(...(await idle.window()));
    const { peer, startedAt, window } = await open("busy");
    const whileBusy: number[] = [];
    let removed = 0;
    while (removed < BLOBS && performance.now() - startedAt < LIMIT_MS) {
      whileBusy.push(...(await window()));
      removed = await collected(peer);
    }
    const rate = removed / ((performance.now() - startedAt) / 1000);
    const sample = (name: string, all: number[]) => ({
      peer: name,
      values: [percentile99(all)],
      median: percentile99(all),
    });
    return [
      {
        name: `p99 of pulls while ${BLOBS.toLocaleString("en-US")} unreferenced blobs are collected`,
        unit: "ms",
        better: "lower",
        goals: [{ peer: "idle", factor: 2, orPlus: 5 }],
        note: `${removed.toLocaleString("en-US")} blobs collected, ${rate.toFixed(0)} a second; ${whileBusy.length} and ${whileIdle.length} pulls of a manifest or a 64 KiB blob`,
        samples: [sample(OURS, whileBusy), sample("idle", whileIdle)],
      },
    ];
  } finally {
    client.close();
    for (const peer of peers) await peer.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
