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
/** Turns of the event loop in which connections that arrived already are taken: those that wait are reset at a close. */
const LAST_TURNS = 3;

/**
 * Listens on every address that the node has. The port is shared with another process of ours, so that an upgrade leaves
 * no gap. The start throws when no address is left or one is taken.
 */
export function createListeners({ hosts, port, handover = 0, createApp, logger }: ListenersOptions): Listeners {
  const apps: FastifyInstance[] = [];
  const bound: BoundAddress[] = [];

  async function listenOn(host: string): Promise<void> {
    const app = createApp();
    try {
      bound.push(await listen(app, { host, port, reusePort: true }));
      apps.push(app);
    } catch (error) {
      await app.close();
      if (!lacksAddress(error)) throw error;
      logger.warn({ host, port }, "this node has no such address; not listening on it");
    }
  }

  async function close(): Promise<void> {
    await Promise.all(apps.splice(0).map((app) => app.close()));
  }

  /** A probe cannot tell two processes on one port apart, so who leaves makes sure that somebody else is there. */
  async function untilAnotherListens(): Promise<void> {
    const deadline = performance.now() + handover;
    const ours = bound[0]?.port ?? port;
    while (performance.now() < deadline) {
      const count = await processesListening(ours);
      if (count === undefined || count > 1) break;
      await sleep(HANDOVER_LOOK_MS);
    }
    for (let turn = 0; turn < LAST_TURNS; turn += 1) await setImmediate();
  }

  async function stop(): Promise<void> {
    if (apps.length > 0) await untilAnotherListens();
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
