import { messageOf } from "@cache-registry/core/errors";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import { isAnswerOfLiving, NotAskedError, unavailable } from "./errors.ts";

/** A call that waits so long makes us ask whether anybody is there at all. Milliseconds. */
const PATIENCE = 300;
const WATCH_INTERVAL = 100;
/** Between questions that were answered. */
const PROBE_INTERVAL = 500;

export type Call = { readonly since: number; readonly reject: (error: Error) => void; over: boolean };

export type Availability = {
  /** Runs the task unless the database is known to be out of reach, and no longer than until it is. */
  guard<Result>(task: (call: Call) => Promise<Result>): Promise<Result>;
  /** Something was heard of the server. */
  heard(): void;
  /** A connection was lost or could not be made: is the server there? */
  suspect(): void;
  /** It is not. */
  down(error: unknown): void;
  /** Why it cannot be reached, undefined when it can. */
  outage(): string | undefined;
  close(): void;
};

type Deps = {
  /** Makes a connection and gives it up again. @throws what the server or the network says, soon */
  readonly probe: () => Promise<void>;
  /** No connection is worth anything any more. */
  readonly onDown: (error: Error) => void;
  readonly logger: Logger | undefined;
};

/**
 * Knows whether the server is there, so that nobody waits for one that is not: a call that gets no answer has the server
 * asked on a connection of its own; silence there too fails every call, and the next ones at once, until it answers.
 */
export function createAvailability({ probe, onDown, logger }: Deps): Availability {
  const calls = new Set<Call>();
  const closing = new AbortController();
  let outage: { error: unknown } | undefined;
  let lastHeard = 0;
  let lastProbe = 0;
  let probing = false;
  let watch: NodeJS.Timeout | undefined;

  function heard(): void {
    lastHeard = performance.now();
  }

  function down(error: unknown): void {
    if (outage || closing.signal.aborted) return;
    outage = { error };
    logger?.warn({ reason: messageOf(error) }, "the metadata database is out of reach");
    const refusal = unavailable(error);
    for (const call of calls) {
      call.over = true;
      call.reject(refusal);
    }
    onDown(refusal);
    void recover(performance.now());
  }

  async function recover(since: number): Promise<void> {
    const backoff = createBackoff({ initial: 100, max: 1_000 });
    while (!closing.signal.aborted) {
      try {
        await sleep(backoff.next(), closing.signal);
        await probe();
        outage = undefined;
        logger?.info({ seconds: (performance.now() - since) / 1_000 }, "the metadata database is back");
        return;
      } catch (error) {
        if (outage) outage.error = error;
      }
    }
  }

  async function ask(): Promise<void> {
    if (probing || outage || closing.signal.aborted) return;
    probing = true;
    lastProbe = performance.now();
    try {
      await probe();
    } catch (error) {
      if (!isAnswerOfLiving(error) && lastHeard < lastProbe) down(error);
    } finally {
      probing = false;
    }
  }

  function look(): void {
    const [oldest] = calls;
    const now = performance.now();
    if (!oldest) {
      clearInterval(watch);
      watch = undefined;
    } else if (now - oldest.since > PATIENCE && now - lastHeard > PATIENCE / 2 && now - lastProbe > PROBE_INTERVAL) {
      void ask();
    }
  }

  return {
    async guard(task) {
      if (outage) throw unavailable(new NotAskedError(messageOf(outage.error), { cause: outage.error }));
      const { promise, reject } = Promise.withResolvers<never>();
      const call: Call = { since: performance.now(), reject, over: false };
      calls.add(call);
      // After the answers that have arrived already, should this process have been busy itself.
      watch ??= setInterval(() => setImmediate(look), WATCH_INTERVAL).unref();
      const running = task(call);
      running.catch(() => undefined);
      try {
        return await Promise.race([running, promise]);
      } finally {
        call.over = true;
        calls.delete(call);
      }
    },
    heard,
    suspect: () => void ask(),
    down,
    outage: () => outage && messageOf(outage.error),
    close() {
      closing.abort();
      clearInterval(watch);
      const refusal = unavailable(new Error("the metadata store is closed"));
      for (const call of calls) call.reject(refusal);
    },
  };
}
