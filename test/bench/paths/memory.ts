import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistryApi } from "../../support/registry-api.ts";
import { digestOf } from "../../support/test-content.ts";
import { type Client, startClient } from "../client/client.ts";
import { type Figure, OURS } from "../measure.ts";
import { type Peer, startOurs } from "../peers.ts";

const READERS = 200;
const READ_SECONDS = 20;
const GIB = 1024 ** 3;
const PUSH_GIB = 10;
const LIMIT_MIB = 256;

/** The most that was resident since the start of the process, in MiB (proc(5), VmHWM). */
function peakMemory({ pid }: Peer): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

/** Each in a process of its own, so that its peak is that of the one thing it did. */
async function peakDuring(
  task: (peer: Peer, client: Client) => Promise<string>,
): Promise<{ peak: number; note: string }> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-memory-"));
  const client = startClient();
  let peer: Peer | undefined;
  try {
    peer = await startOurs({ dir });
    const note = await task(peer, client);
    return { peak: peakMemory(peer), note };
  } finally {
    client.close();
    await peer?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function figureOf(name: string, { peak, note }: { peak: number; note: string }): Figure {
  return {
    name: `peak memory, ${name}`,
    unit: "MiB",
    better: "lower",
    goals: [{ limit: LIMIT_MIB }],
    note,
    samples: [{ peer: OURS, values: [peak], median: peak }],
  };
}

export async function memory(): Promise<Figure[]> {
  const reading = await peakDuring(async ({ url }, client) => {
    const bytes = Buffer.alloc(GIB);
    const digest = digestOf(bytes);
    await createRegistryApi(url).pushBlob("bench/slow", { bytes, digest });
    const job = { url: `${url}/v2/bench/slow/blobs/${digest}`, connections: READERS, seconds: READ_SECONDS };
    const [taken = 0, refused = 0] = await client.run({ kind: "slowReaders", ...job });
    if (refused > 0) throw new Error(`${refused} slow readers were refused`);
    return `the push of that blob included; ${(taken / READERS / READ_SECONDS / 1024).toFixed(0)} KiB/s each`;
  });
  const pushing = await peakDuring(async ({ url }, client) => {
    const job = { base: url, repository: "bench/large", mebibytes: PUSH_GIB * 1024 };
    const [seconds = Number.NaN] = await client.run({ kind: "stream", ...job });
    return `${((PUSH_GIB * GIB) / seconds / 1e6).toFixed(0)} MB/s`;
  });
  return [figureOf(`${READERS} slow readers of a 1 GiB blob`, reading), figureOf(`push of ${PUSH_GIB} GiB`, pushing)];
}
