import { Agent, get, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

type Latencies = { readonly urls: readonly string[]; readonly seconds: number; readonly pause: number };

function ask(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const answered = (answer: IncomingMessage) => {
      if (answer.statusCode !== 200) reject(new Error(`${url} answered ${answer.statusCode}`));
      answer.resume().once("end", resolve).once("error", reject);
    };
    get(url, { agent }, answered).once("error", reject);
  });
}

/** One request at a time on a kept connection, at a steady pace. */
export async function latencies({ urls, seconds, pause }: Latencies): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const measured: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    for (const url of urls) {
      const start = performance.now();
      await ask(url, agent);
      measured.push(performance.now() - start);
      if (pause > 0) await sleep(pause);
    }
  }
  agent.destroy();
  return measured;
}
