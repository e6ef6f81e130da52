import { messageOf } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { ManagementClient } from "./management-client.ts";

/** Notices that the registry was restarted (what it held in memory, or all of it, may be gone) or cannot be reached. */
export interface RegistryMonitor {
  /** Identifies the running registry; undefined before it was reached for the first time. */
  readonly instance: string | undefined;
  readonly down: { readonly since: Date; readonly message: string } | undefined;
  /** Asks now; callers share one request. Never rejects. */
  refresh(signal: AbortSignal): Promise<void>;
  /** Called after a restart, and when the registry is back after having been unreachable. */
  onReturn(listener: () => void): void;
  run(signal: AbortSignal): Promise<void>;
}

export type RegistryMonitorOptions = {
  readonly registry: Pick<ManagementClient, "startedAt">;
  readonly logger: Logger;
  readonly now: () => Date;
  /** Milliseconds between two questions. */
  readonly interval: number;
};

export function createRegistryMonitor({ registry, logger, now, interval }: RegistryMonitorOptions): RegistryMonitor {
  const listeners: (() => void)[] = [];
  let instance: string | undefined;
  let down: { since: Date; message: string } | undefined;
  let pending: Promise<void> | undefined;

  async function ask(signal: AbortSignal): Promise<void> {
    try {
      const answer = await registry.startedAt(signal);
      const returned = down !== undefined || (instance !== undefined && answer !== instance);
      if (returned) logger.info({ startedAt: answer }, "registry is back");
      instance = answer;
      down = undefined;
      if (returned) for (const listener of listeners) listener();
    } catch (error) {
      if (signal.aborted) return;
      if (!down) logger.warn({ err: error }, "registry not reachable");
      down = { since: down?.since ?? now(), message: messageOf(error) };
    }
  }

  function refresh(signal: AbortSignal): Promise<void> {
    pending ??= ask(signal).finally(() => {
      pending = undefined;
    });
    return pending;
  }

  return {
    get instance() {
      return instance;
    },
    get down() {
      return down;
    },
    refresh,
    onReturn: (listener) => void listeners.push(listener),
    async run(signal) {
      while (!signal.aborted) {
        await refresh(signal);
        await sleep(interval, signal).catch(() => undefined);
      }
    },
  };
}
