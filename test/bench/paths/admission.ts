import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { startApiServer } from "../../support/api-server.ts";
import { startWebhookProcess, type WebhookProcess } from "../../support/webhook-process.ts";
import {
  type ApiAccess,
  accessOf,
  askApi,
  podsPath,
  registerWebhook,
  WEBHOOK_NAME,
} from "../../support/webhook-registration.ts";
import { type Client, startClient } from "../client/client.ts";
import { realisticReview, smallPod } from "../data/pods.ts";
import { type Figure, OURS } from "../measure.ts";
import { bundledMain, nodeOptions } from "../peers.ts";

const PER_SECOND = 300;
const WARM_UP_SECONDS = 5;
const WINDOWS = 6;
const WINDOW_SECONDS = 5;
const PODS = 200;

/** Reviews of realistic pods: posted straight to the webhook, and by a real API server that creates pods. */
export async function admission(): Promise<Figure[]> {
  const webhook = await startWebhookProcess({ main: await bundledMain(), nodeOptions: nodeOptions() });
  const client = startClient();
  try {
    return [await overHttps(webhook, client), await inApiServer(webhook, client)];
  } finally {
    client.close();
    await webhook.dispose();
  }
}

function listOf<Item>(make: (index: number) => Item): string[] {
  return Array.from({ length: PODS }, (_, index) => JSON.stringify(make(index)));
}

async function overHttps(webhook: WebhookProcess, client: Client): Promise<Figure> {
  const bodies = listOf(realisticReview);
  const { url, caFile } = webhook;
  const run = (seconds: number) =>
    client.run({ kind: "arrivals", url, caFile, headers: {}, bodies, status: 200, perSecond: PER_SECOND, seconds });
  await run(WARM_UP_SECONDS);
  const cpuBefore = webhook.cpuSeconds();
  const windows: number[][] = [];
  for (let window = 0; window < WINDOWS; window += 1) windows.push(await run(WINDOW_SECONDS));
  const times = windows.flat();
  const cpuEach = ((webhook.cpuSeconds() - cpuBefore) * 1000) / times.length;
  const size = bodies.reduce((sum, body) => sum + body.length, 0) / bodies.length / 1024;
  return {
    name: `p99 of admission reviews over HTTPS, ${PER_SECOND} a second at random moments`,
    unit: "ms",
    better: "lower",
    goals: [{ limit: 5 }],
    samples: [{ peer: OURS, values: windows.map((window) => quantile(window, 0.99)), median: quantile(times, 0.99) }],
    note: [
      `p50 ${quantile(times, 0.5).toFixed(2)} ms`,
      `${cpuEach.toFixed(2)} ms of CPU each`,
      `reviews of ${size.toFixed(0)} KiB`,
      loadNow(),
    ].join(", "),
  };
}

/** The API server's own view of the webhook while pods are created in a dry run: all admission, nothing stored. */
async function inApiServer(webhook: WebhookProcess, client: Client): Promise<Figure> {
  const server = await startApiServer();
  try {
    await registerWebhook(server, webhook);
    const access = accessOf(server);
    const run = (seconds: number) =>
      client.run({
        kind: "arrivals",
        url: access.url + podsPath("default"),
        headers: access.headers,
        bodies: listOf(smallPod),
        status: 201,
        perSecond: PER_SECOND,
        seconds,
      });
    await run(WARM_UP_SECONDS);
    const before = await durations(access);
    await run(WINDOWS * WINDOW_SECONDS);
    const buckets = (await durations(access)).map(({ limit, count }, index) => ({
      limit,
      count: count - (before[index]?.count ?? 0),
    }));
    const all = buckets.at(-1)?.count ?? 0;
    const within = buckets.find(({ limit }) => limit === 0.025)?.count ?? 0;
    const p99 = histogramQuantile(buckets, 0.99) * 1000;
    return {
      name: `p99 of the webhook in the API server's own histogram, ${PER_SECOND} pods a second`,
      unit: "ms",
      better: "lower",
      goals: [{ limit: 25 }],
      samples: [{ peer: OURS, values: [p99], median: p99 }],
      note: [
        `p50 ${(histogramQuantile(buckets, 0.5) * 1000).toFixed(1)} ms`,
        `${((100 * within) / all).toFixed(2)} % of ${all} within 25 ms`,
        "API server, etcd and client on the same machine",
        loadNow(),
      ].join(", "),
    };
  } finally {
    await server.stop();
  }
}

type Bucket = { readonly limit: number; readonly count: number };

/** `apiserver_admission_webhook_admission_duration_seconds` of our webhook: cumulative, limits in seconds. */
async function durations(access: ApiAccess): Promise<Bucket[]> {
  const { body } = await askApi(access, { path: "/metrics" });
  const lines = String(body)
    .split("\n")
    .filter((line) => line.startsWith("apiserver_admission_webhook_admission_duration_seconds_bucket{"))
    .filter((line) => line.includes(`name="${WEBHOOK_NAME}"`) && line.includes('operation="CREATE"'));
  return lines.map((line) => ({
    limit: Number(/le="([^"]+)"/.exec(line)?.[1]?.replace("+Inf", "Infinity")),
    count: Number(line.slice(line.lastIndexOf(" ") + 1)),
  }));
}

/** As Prometheus does it: straight lines within a bucket. */
function histogramQuantile(buckets: readonly Bucket[], share: number): number {
  const rank = share * (buckets.at(-1)?.count ?? 0);
  const at = buckets.findIndex(({ count }) => count >= rank);
  const [bucket, below] = [buckets[at], buckets[at - 1]];
  if (!bucket || bucket.limit === Number.POSITIVE_INFINITY) return below?.limit ?? Number.NaN;
  const [from, passed] = [below?.limit ?? 0, below?.count ?? 0];
  return from + ((bucket.limit - from) * (rank - passed)) / (bucket.count - passed);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Under other load the figure is only worth something when we go first (`chrt -r 10 npm run bench`). */
function loadNow(): string {
  const policy = /^policy\s*:\s*(\d+)/m.exec(readFileSync("/proc/self/sched", "utf8"))?.[1];
  const ahead = policy === "1" || policy === "2" ? ", ahead of it by real-time priority" : "";
  return `load average ${loadavg()[0]?.toFixed(1)}${ahead}`;
}
