import { randomInt } from "node:crypto";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import { type Availability, type Call, createAvailability } from "./availability.ts";
import { ConnectionLostError, isConflict, isConnectionLoss, storeError, unavailable } from "./errors.ts";
import type { Link } from "./link.ts";
import { createReaders } from "./readers.ts";
import type { Session } from "./statement.ts";
import { createWriters } from "./writers.ts";

/** By which one is to answer who is asked whether there is anybody. Milliseconds. */
const PROBE_TIMEOUT = 500;
/**
 * For a connection to keep. A server on a busy machine takes its time to begin one; whether it is there at all is found out
 * meanwhile, and if not nobody waits any longer. Milliseconds.
 */
const CONNECT_TIMEOUT = 3_000;
const CONNECT_PAUSE = 100;
/** So often a server may end the only connection while it is made, before it counts as gone: an administrator or a pooler does. */
const MAX_ENDED = 2;
/** A transaction that was undone because of another is tried again at most so often. */
const MAX_ATTEMPTS = 8;

/** Thrown by a transaction's body: nothing is written, and the value is the result. */
export class Rollback<Value> extends Error {
  readonly value: Value;
  constructor(value: Value) {
    super("rolled back");
    this.value = value;
  }
}

export type Database = {
  /** One statement, which may be repeated. @throws CodedError UNAVAILABLE within a second when the server is not there */
  read<Result>(work: (session: Session) => Promise<Result>): Promise<Result>;
  /**
   * The body may run several times: it is tried again after a deadlock and when its connection broke before the commit.
   * A commit that was not answered counts as failed, whatever became of it.
   */
  transaction<Result>(work: (session: Session) => Promise<Result>): Promise<Result>;
  /** A single statement that is a transaction by itself. */
  statement<Result>(work: (session: Session) => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
};

export type DatabaseOptions = {
  readonly open: (options: {
    readonly connectTimeout: number;
    readonly signal?: AbortSignal | undefined;
    readonly onHeard: () => void;
    readonly onLost: (link: Link, error: Error) => void;
  }) => Promise<Link>;
  /** Most connections at the same time. */
  readonly connections: number;
  readonly logger: Logger | undefined;
};

export function createDatabase({ open, connections, logger }: DatabaseOptions): Database {
  const links = new Set<Link>();
  let closed = false;
  let connecting = new AbortController();

  const availability: Availability = createAvailability({
    logger,
    async probe() {
      // Whoever knows us answers sooner than one who has to get to know us first, and is heard too.
      const [acquaintance] = [...links].toSorted((one, other) => one.pending - other.pending);
      acquaintance?.command("SELECT 1").catch(() => undefined);
      await (await connect(PROBE_TIMEOUT)).end();
    },
    onDown(error) {
      connecting.abort();
      connecting = new AbortController();
      for (const link of links) link.destroy(error);
    },
  });

  function connect(connectTimeout: number, signal?: AbortSignal): Promise<Link> {
    return open({
      connectTimeout,
      signal,
      onHeard: () => availability.heard(),
      onLost(link) {
        links.delete(link);
        availability.suspect();
      },
    });
  }

  /** A connection to keep. */
  async function join(): Promise<Link> {
    const begun = performance.now();
    for (let count = 1; ; count++) {
      try {
        const link = await connect(CONNECT_TIMEOUT, connecting.signal);
        links.add(link);
        // It came too late for this outage, or for the end.
        if (closed || availability.outage() !== undefined) link.destroy(new ConnectionLostError("no longer wanted"));
        return link;
      } catch (error) {
        const took = performance.now() - begun;
        const ended = isConnectionLoss(error) && count <= MAX_ENDED && took < PROBE_TIMEOUT;
        // With others at work the server is there, and has only none left for us, or not now.
        if (links.size === 0 && !ended) availability.down(error);
        const gone = closed || availability.outage() !== undefined;
        if (gone || took > CONNECT_TIMEOUT) throw unavailable(error);
      }
      await sleep(CONNECT_PAUSE);
    }
  }

  const shared = Math.max(1, Math.min(4, Math.floor(connections / 3)));
  const readers = createReaders({ open: join, max: shared });
  const writers = createWriters({ open: join, max: Math.max(1, connections - shared) });

  async function attempt<Result>(call: Call, work: (session: Session) => Promise<Result>): Promise<Result> {
    return writers.use(async (link) => {
      if (call.over) throw new ConnectionLostError("given up");
      let committing = false;
      try {
        // Not waited for: the first statement goes right behind it.
        const begun = link.command("BEGIN");
        begun.catch(() => undefined);
        const value = await work(link);
        await begun;
        if (call.over) throw new ConnectionLostError("given up");
        committing = true;
        const command = await link.command("COMMIT");
        if (command !== "COMMIT") throw new Error(`the transaction ended with ${command}`);
        return value;
      } catch (error) {
        if (committing && isConnectionLoss(error)) throw unavailable(error);
        if (!link.lost) await link.command("ROLLBACK");
        throw error;
      }
    });
  }

  async function transaction<Result>(call: Call, work: (session: Session) => Promise<Result>): Promise<Result> {
    for (let count = 1; ; count++) {
      try {
        return await attempt(call, work);
      } catch (error) {
        if (error instanceof Rollback) return error.value as Result;
        const again = isConflict(error) || isConnectionLoss(error);
        if (!again || call.over || count === MAX_ATTEMPTS) throw error;
        await sleep(randomInt(2 ** count, 2 ** (count + 2)));
      }
    }
  }

  function guard<Result>(task: (call: Call) => Promise<Result>): Promise<Result> {
    return availability.guard(task).catch((error: unknown) => {
      throw storeError(error);
    });
  }

  return {
    read: (work) =>
      guard(async (call) => {
        try {
          return await work(await readers.pick());
        } catch (error) {
          // The server may have been started anew a moment ago.
          if (!isConnectionLoss(error) || call.over) throw error;
          return work(await readers.pick());
        }
      }),
    transaction: (work) => guard((call) => transaction(call, work)),
    statement: (work) =>
      guard((call) =>
        writers.use((link) => (call.over ? Promise.reject(new ConnectionLostError("given up")) : work(link))),
      ),
    async close() {
      closed = true;
      await writers.drain();
      availability.close();
      await Promise.all([...links].map((link) => link.end()));
    },
  };
}
