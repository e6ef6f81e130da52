import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { HEALTH_PORTS } from "./layout.ts";

/** Above what programs listen on by custom and what clients refuse to call, below the NodePorts of Kubernetes. */
const FIRST = 11_000;
const LAST = 29_999;
/** Fewer than these are no choice. */
const ENOUGH = 2_000;
const RESERVED: ReadonlySet<number> = new Set(Object.values(HEALTH_PORTS));

/** One number after the other from a random one on: none is given twice, and two processes hardly meet. */
function* numbers(): Generator<number> {
  const count = lastPort() - FIRST + 1;
  const start = randomInt(count);
  for (let turn = 0; turn < count; turn += 1) {
    const port = FIRST + ((start + turn) % count);
    if (!RESERVED.has(port)) yield port;
  }
}

/**
 * From its own range the kernel gives a port to any outgoing connection, also between our choice and the listening of the
 * process that it is for. Below that range nobody takes one unasked.
 */
function lastPort(): number {
  let lowest = Number.POSITIVE_INFINITY;
  try {
    lowest = Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8"), 10);
  } catch {
    // No Linux, or a machine that does not say.
  }
  return lowest - FIRST >= ENOUGH ? Math.min(LAST, lowest - 1) : LAST;
}

const ours = numbers();

/**
 * A port on which nothing listens now, at any address of the machine, and that this process was not given before: for a
 * process that has to be told its port, or a server that closes and opens again on the same one.
 */
export async function freePort(candidates: Iterator<number> = ours): Promise<number> {
  for (;;) {
    const { value: port, done } = candidates.next();
    if (done) throw new Error("no port is left");
    if (await canListen(port)) return port;
  }
}

/** A listener at any single address keeps the wildcard from being bound. */
async function canListen(port: number): Promise<boolean> {
  const all = await tryToListen(port, "::");
  // A machine without IPv6.
  const code = all === "EAFNOSUPPORT" || all === "EADDRNOTAVAIL" ? await tryToListen(port, "0.0.0.0") : all;
  return code === undefined;
}

/** The code of the error, undefined when it could. */
async function tryToListen(port: number, host: string): Promise<string | undefined> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, host, exclusive: true }, resolve);
    });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  }
  await new Promise((resolve) => server.close(resolve));
  return undefined;
}
