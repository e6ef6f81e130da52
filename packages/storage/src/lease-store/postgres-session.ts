import { messageOf } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import pg from "pg";
import { unavailable } from "../metadata-store/postgres/errors.ts";
import { breakConnection, connectWithin, onServerMessage } from "../metadata-store/postgres/pg-client.ts";

/** By when a server has to say something to whoever connects, in milliseconds. */
const FIRST_WORD_MS = 900;
/**
 * Statements here take a moment. After so long without an answer the server is asked on another connection whether it is there
 * at all; one that does not answer that either, for so long, is away: callers are refused within a second. Milliseconds.
 */
const QUIET_MS = 400;
const PROBE_MS = 450;
/** A server that lives and does not answer for so long is of no use. Milliseconds. */
const SLOW_MS = 5_000;
/** After a failure the next attempt to connect waits so long, and callers are refused at once. */
const PAUSE_MS = 250;

/**
 * A replica that vanishes with its machine says no goodbye: the server finds out in 15 s and gives its locks back. Ignored on
 * Unix sockets, which end with the process. `standard_conforming_strings` and the like are the server's defaults.
 */
const SETTINGS = `SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;
  SET idle_session_timeout = 0; SET statement_timeout = '5s'; SET lock_timeout = '5s'`;

export type SqlValue = string | number | null | readonly (string | number)[];

/** One connection, and all that the server holds for it: it ends for good with the first doubt. */
export type PostgresConnection = {
  query<Row extends object>(text: string, values?: readonly SqlValue[]): Promise<Row[]>;
  /** False once it is of no use; it never comes back. */
  readonly alive: boolean;
};

export type PostgresSession = {
  /** The connection of now, made when there is none. @throws CodedError UNAVAILABLE within a second */
  connection(): Promise<PostgresConnection>;
  close(): Promise<void>;
};

export type PostgresSessionOptions = {
  /** What the next connection is made with. */
  readonly config: () => Promise<pg.ClientConfig>;
  readonly logger?: Logger | undefined;
};

/**
 * The one connection of a replica for leases and locks, beside those of the metadata store: a lock lives with its connection,
 * so it must not be one of a pool. A pooler in between has to be in session mode.
 */
export function createPostgresSession({ config, logger }: PostgresSessionOptions): PostgresSession {
  let current: Promise<Connected> | undefined;
  let failedAt = Number.NEGATIVE_INFINITY;
  let lastError: unknown;
  let closed = false;

  async function open(): Promise<Connected> {
    try {
      return await connect(await config(), (error) => {
        current = undefined;
        if (!closed) logger?.warn({ reason: messageOf(error) }, "the connection for leases and locks was lost");
      });
    } catch (error) {
      failedAt = performance.now();
      lastError = error;
      current = undefined;
      throw unavailable(error);
    }
  }

  return {
    async connection() {
      if (closed) throw unavailable(new Error("closed"));
      if (!current && performance.now() - failedAt < PAUSE_MS) throw unavailable(lastError);
      current ??= open();
      return (await current).connection;
    },
    async close() {
      closed = true;
      await current?.then(({ end }) => end()).catch(() => undefined);
    },
  };
}

type Connected = { readonly connection: PostgresConnection; readonly end: () => Promise<void> };

async function connect(config: pg.ClientConfig, onLost: (error: unknown) => void): Promise<Connected> {
  const client = new pg.Client({
    ...config,
    application_name: "cache-registry leases and locks",
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    pipeline: true,
  });
  let alive = true;
  let heardAt = performance.now();
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => undefined);
  function lose(error: unknown): void {
    if (!alive) return;
    alive = false;
    lost.reject(error);
    onLost(error);
    breakConnection(client);
  }
  client.on("error", lose);
  client.on("end", () => lose(new Error("the connection ended")));
  onServerMessage(client, () => {
    heardAt = performance.now();
  });
  try {
    await connectWithin(client, SETTINGS, { milliseconds: SLOW_MS, firstWord: FIRST_WORD_MS });
  } catch (error) {
    lose(error);
    throw error;
  }

  let probing: Promise<boolean> | undefined;
  function serverLives(): Promise<boolean> {
    probing ??= probe(config).finally(() => {
      probing = undefined;
    });
    return probing;
  }

  /** Until the answer came: loses the connection when none is to be expected. */
  async function watch(answered: AbortSignal): Promise<void> {
    const began = performance.now();
    while (alive && !answered.aborted) {
      await sleep(QUIET_MS, answered).catch(() => undefined);
      // An answer that is here already, and was not looked at as this process was busy itself.
      await new Promise((resolve) => setImmediate(resolve));
      if (answered.aborted || !alive) return;
      const asked = performance.now();
      const lives = await serverLives();
      if (answered.aborted) return;
      // It may have answered others here meanwhile, whose turn was before.
      const silent = performance.now() - Math.max(began, heardAt) > SLOW_MS;
      if (silent || !(lives || heardAt >= asked)) lose(new Error("the server says nothing"));
    }
  }

  async function query<Row extends object>(text: string, values: readonly SqlValue[] = []): Promise<Row[]> {
    if (!alive) throw unavailable(new Error("the connection is lost"));
    const answered = new AbortController();
    void watch(answered.signal);
    const running = client.query<Row & pg.QueryResultRow>(text, [...values]);
    running.catch(() => undefined);
    try {
      return (await Promise.race([running, lost.promise])).rows;
    } catch (error) {
      // Whatever went wrong on it: what the server holds for the connection is in doubt from here on.
      lose(error);
      throw unavailable(error);
    } finally {
      answered.abort();
    }
  }

  return {
    connection: {
      query,
      get alive() {
        return alive;
      },
    },
    async end() {
      alive = false;
      await client.end();
    },
  };
}

/** Does it say anything, if only that it takes no more connections? On a busy machine a whole beginning takes its time. */
async function probe(config: pg.ClientConfig): Promise<boolean> {
  const client = new pg.Client(config);
  let heard = false;
  client.on("error", () => undefined);
  onServerMessage(client, () => {
    heard = true;
  });
  await connectWithin(client, "", { milliseconds: PROBE_MS }).catch(() => undefined);
  void client.end().catch(() => undefined);
  return heard;
}
