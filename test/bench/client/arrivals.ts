import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../../../packages/core/src/testing/seeded-random.ts";

export type Arrivals = {
  readonly url: string;
  /** Who signed the server's certificate; left out: anybody may have. */
  readonly caFile?: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Posted in turn. */
  readonly bodies: readonly string[];
  /** Of the answers. */
  readonly status: number;
  readonly perSecond: number;
  readonly seconds: number;
};

/**
 * Requests of many independent clients (an open model): they arrive at random moments, whether earlier ones are answered
 * or not, on kept connections. Gives the milliseconds from each moment until the last byte of its answer.
 */
export async function arrivals(job: Arrivals): Promise<number[]> {
  const trust = job.caFile === undefined ? { rejectUnauthorized: false } : { ca: readFileSync(job.caFile) };
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 100, ...trust });
  const random = createRandom(7);
  const bodies = job.bodies.map((body) => Buffer.from(body));
  const running: Promise<number>[] = [];
  const start = performance.now();
  let due = start;
  while (due < start + job.seconds * 1000) {
    const wait = due - performance.now();
    if (wait > 0) await sleep(wait);
    const body = bodies[running.length % bodies.length];
    const asked = post({ ...job, body: body ?? Buffer.alloc(0), agent, due });
    // A failure is told at the end: until then nobody waits for it.
    asked.catch(() => {});
    running.push(asked);
    // Between the events of a Poisson process.
    due += (-Math.log(1 - random.below(1e9) / 1e9) * 1000) / job.perSecond;
  }
  try {
    return await Promise.all(running);
  } finally {
    agent.destroy();
  }
}

type Post = Arrivals & { readonly body: Buffer; readonly agent: Agent; readonly due: number };

function post({ url, headers, status, body, agent, due }: Post): Promise<number> {
  // Timers fire a little early as well.
  const began = Math.min(due, performance.now());
  return new Promise((resolve, reject) => {
    const sent = { ...headers, "content-type": "application/json", "content-length": body.length };
    const asking = request(url, { method: "POST", agent, headers: sent }, (answer) => {
      if (answer.statusCode !== status) reject(new Error(`${url} answered ${answer.statusCode}`));
      answer.resume().once("error", reject);
      answer.once("end", () => resolve(performance.now() - began));
    });
    asking.once("error", reject).end(body);
  });
}
