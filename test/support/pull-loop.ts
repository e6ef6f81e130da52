import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export type PullLoopOptions = {
  /** An address per loop. */
  readonly hosts: readonly string[];
  readonly port: number;
  readonly path: string;
  /** Between two pulls of a loop, milliseconds. */
  readonly pause: number;
  /** For one pull, milliseconds. */
  readonly timeout: number;
};

export type Pulls = { readonly count: number; readonly failures: readonly string[] };

/** Pulls the same again and again, on a new connection each time; `end` lets those under way finish. */
export function startPullLoops({ hosts, port, path, pause, timeout }: PullLoopOptions): { end(): Promise<Pulls> } {
  const failures: string[] = [];
  let count = 0;
  let over = false;

  function pull(host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      http
        .get({ host, port, path, agent: false, timeout }, (response) => {
          response.resume().once("end", () => resolve(response.statusCode ?? 0));
        })
        .once("error", reject);
    });
  }
  async function loop(host: string): Promise<void> {
    while (!over) {
      count += 1;
      const status = await pull(host).catch(String);
      if (status !== 200) failures.push(`${host}: ${status}`);
      await sleep(pause);
    }
  }

  const loops = hosts.map(loop);
  return {
    async end() {
      over = true;
      await Promise.all(loops);
      return { count, failures };
    },
  };
}
