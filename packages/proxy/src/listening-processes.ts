import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** State of a socket in /proc/net/tcp: TCP_LISTEN. */
const LISTEN = "0A";
const TABLES = ["/proc/self/net/tcp", "/proc/self/net/tcp6"] as const;
const CHUNK_BYTES = 16 * 1024;

/**
 * Local addresses (`0100007F:1D0F`) of the sockets that listen, one for each socket. proc_net_tcp(5). The kernel lists those
 * first; a busy node has a hundred thousand others behind them, which are not read.
 */
export async function listeningSockets(lines: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  let isHead = true;
  for await (const line of lines) {
    const [, local = "", , state] = line.trim().split(/\s+/, 4);
    if (!isHead && state !== LISTEN) break;
    if (!isHead) found.push(local);
    isHead = false;
  }
  return found;
}

/** How many sockets of one address listen on the port: the most that any address has. */
export function countListeners(sockets: readonly string[], port: number): number {
  const counts = new Map<string, number>([["", 0]]);
  for (const local of sockets) {
    const ofPort = Number.parseInt(local.slice(local.indexOf(":") + 1), 16) === port;
    if (ofPort) counts.set(local, (counts.get(local) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}

async function socketsIn(path: string): Promise<string[]> {
  const input = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const failed = new Promise<never>((_resolve, reject) => input.once("error", reject));
  try {
    return await Promise.race([listeningSockets(createInterface({ input })), failed]);
  } catch {
    return [];
  } finally {
    input.destroy();
  }
}

/**
 * How many processes share each of these ports of this host (SO_REUSEPORT), ours included; undefined where the system does
 * not tell. On the host network two of ours do so during an update, and only the kernel knows which of them is asked.
 */
export async function processesListening(...ports: number[]): Promise<readonly number[] | undefined> {
  const sockets = (await Promise.all(TABLES.map(socketsIn))).flat();
  return sockets.length === 0 ? undefined : ports.map((port) => countListeners(sockets, port));
}
