import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { type BoundAddress, listen } from "@cache-registry/runtime/server";
import type { FastifyInstance } from "fastify";
import { processesListening } from "./listening-processes.ts";

/** A node without IPv6 has no ::1. */
const NO_SUCH_ADDRESS = new Set(["EADDRNOTAVAIL", "EAFNOSUPPORT"]);

function lacksAddress(error: unknown): boolean {
  return error instanceof Error && "code" in error && NO_SUCH_ADDRESS.has(String(error.code));
}

export type Listeners = Service & {
  /** What is listened on, after the start. */
  readonly bound: readonly BoundAddress[];
};

export type ListenersOptions = {
  readonly hosts: readonly string[];
  readonly port: number;
  /** At the stop: milliseconds to serve on until another process listens on the port. */
  readonly handover?: number;
  readonly createApp: () => FastifyInstance;
  readonly logger: Logger;
};

const HANDOVER_LOOK_MS = 50;
/** Pulls come in bursts: so long without a new connection, none is about to arrive. */
const QUIET_MS = 20;
const MAX_WAIT_FOR_QUIET_MS = 2_000;

/**
 * Listens on every address that the node has. The port is shared with another process of ours, so that an upgrade leaves
 * no gap. The start throws when no address is left or one is taken.
 */
export function createListeners({ hosts, port, handover = 0, createApp, logger }: ListenersOptions): Listeners {
  const apps: FastifyInstance[] = [];
  const bound: BoundAddress[] = [];
  let lastArrival = 0;

  async function listenOn(host: string): Promise<void> {
    const app = createApp();
    try {
      bound.push(await listen(app, { host, port, reusePort: true }));
      app.server.on("connection", () => {
        lastArrival = performance.now();
      });
      apps.push(app);
    } catch (error) {
      await app.close();
      if (!lacksAddress(error)) throw error;
      logger.warn({ host, port }, "this node has no such address; not listening on it");
    }
  }

  async function close(): Promise<void> {
    const closing = apps.splice(0);
    // At once: before fastify comes to it, others would have arrived.
    for (const { server } of closing) server.close();
    await Promise.all(closing.map((app) => app.close()));
  }

  /** A probe cannot tell two processes on one port apart, so who leaves makes sure that somebody else is there. */
  async function untilAnotherListens(): Promise<void> {
    const deadline = performance.now() + handover;
    const ours = bound[0]?.port ?? port;
    while (performance.now() < deadline) {
      const [count] = (await processesListening(ours)) ?? [];
      // Once more: it may have opened the first of its addresses just now.
      await sleep(HANDOVER_LOOK_MS);
      if (count === undefined || count > 1) return;
    }
  }

  /** The kernel resets connections that wait to be accepted when a listening socket is closed. */
  async function untilNobodyComes(): Promise<void> {
    const deadline = performance.now() + MAX_WAIT_FOR_QUIET_MS;
    do {
      await sleep(QUIET_MS / 4);
      // Past the point in the loop where connections are accepted.
      await setImmediate();
    } while (performance.now() - lastArrival < QUIET_MS && performance.now() < deadline);
  }

  async function stop(): Promise<void> {
    if (apps.length > 0 && handover > 0) {
      await untilAnotherListens();
      await untilNobodyComes();
    }
    await close();
  }

  return {
    name: "proxy",
    bound,
    stop,
    async start() {
      try {
        for (const host of hosts) await listenOn(host);
        if (bound.length === 0) throw new Error(`none of the addresses exists on this node: ${hosts.join(", ")}`);
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}
