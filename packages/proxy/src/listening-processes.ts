import { readFile } from "node:fs/promises";

/** State of a socket in /proc/net/tcp: TCP_LISTEN. */
const LISTEN = "0A";
const TABLES = ["/proc/self/net/tcp", "/proc/self/net/tcp6"] as const;

/** How many sockets of one address listen on the port: the most that any address has. proc_net_tcp(5). */
export function countListeners(tables: readonly string[], port: number): number {
  const counts = new Map<string, number>([["", 0]]);
  for (const line of tables.flatMap((table) => table.split("\n").slice(1))) {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const ofPort = Number.parseInt(local.slice(local.indexOf(":") + 1), 16) === port;
    if (state === LISTEN && ofPort) counts.set(local, (counts.get(local) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}

/**
 * How many processes share a port of this host (SO_REUSEPORT), ours included; undefined where the system does not tell.
 * On the host network two of ours do so during an update, and only the kernel knows which of them is asked.
 */
export async function processesListening(port: number): Promise<number | undefined> {
  const read = async (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
  const tables = await Promise.all(TABLES.map(read));
  return tables.every((table) => table === "") ? undefined : countListeners(tables, port);
}
