import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { type BoundAddress, listen } from "@cache-registry/runtime/server";
import type { FastifyInstance } from "fastify";

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
  readonly createApp: () => FastifyInstance;
  readonly logger: Logger;
};

/**
 * Listens on every address that the node has. The port is shared with another process of ours, so that an upgrade leaves
 * no gap. The start throws when no address is left or one is taken.
 */
export function createListeners({ hosts, port, createApp, logger }: ListenersOptions): Listeners {
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

  async function stop(): Promise<void> {
    await Promise.all(apps.splice(0).map((app) => app.close()));
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
        await stop();
        throw error;
      }
    },
  };
}
