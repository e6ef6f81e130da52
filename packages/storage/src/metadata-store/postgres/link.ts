import { CodedError } from "@cache-registry/core/errors";
import type { ClientConfig } from "pg";
import pg from "pg";
import { ConnectionLostError } from "./errors.ts";
import { breakConnection, connectWithin, onServerMessage } from "./pg-client.ts";
import type { Session, Statement, Value } from "./statement.ts";

/** int8 and numeric: counts, sizes and times, all below 2^53. */
const NUMBERS: ReadonlySet<number> = new Set([20, 1700]);

const types = {
  getTypeParser: (oid: number, format?: "text" | "binary") =>
    NUMBERS.has(oid) ? Number : pg.types.getTypeParser(oid, format === "binary" ? "text" : format),
} as ClientConfig["types"];

/**
 * `read committed`: every statement sees what was committed before it, so what is read after a lock was taken is true
 * while the lock is held (ADR 0017). A server told not to wait for its disk is told so here: a push must survive a
 * power cut. A process that hangs in the middle of a transaction gives its locks back.
 */
const SETTINGS = `SET default_transaction_isolation = 'read committed'; SET jit = off;
  SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s';
  SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')`;

/**
 * The server gives a statement up after 10 s. What is not answered for longer was sent into a connection that is cut somewhere on
 * the way, though new ones may get through: TCP itself would notice after a quarter of an hour. Milliseconds.
 */
const SILENCE_MS = 12_000;

/** PostgreSQL has no such text. */
function holdsNul(value: Value): boolean {
  if (typeof value === "string") return value.includes("\0");
  return Array.isArray(value) && value.some((item) => typeof item === "string" && item.includes("\0"));
}

/** One connection. Statements are pipelined: sent at once, answered in order. */
export type Link = Session & {
  /** Without parameters. Resolves with the command that the server says it was. */
  command(text: string): Promise<string | undefined>;
  readonly lost: boolean;
  /** Statements sent and not answered. */
  readonly pending: number;
  readonly client: pg.Client;
  /** Breaks the connection: what is pending is rejected. */
  destroy(why: Error): void;
  end(): Promise<void>;
};

type LinkOptions = {
  readonly config: ClientConfig;
  /** Until the connection can be used, in milliseconds. */
  readonly connectTimeout: number;
  /** Nobody wants the connection any more that is being made. */
  readonly signal?: AbortSignal | undefined;
  /** The server said something, if only a word of the beginning. */
  readonly onHeard: () => void;
  readonly onLost: (link: Link, error: Error) => void;
  /** Milliseconds, shorter for tests. */
  readonly silence?: number;
};

/** @throws what the server or the network says */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { config, connectTimeout, signal, onHeard, onLost, silence = SILENCE_MS } = options;
  const client = new pg.Client({
    ...config,
    application_name: "cache-registry",
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    pipeline: true,
    ...(types ? { types } : {}),
  });
  let cause: Error | undefined;
  let pending = 0;
  let heardAt = performance.now();
  // Looked at after the answers that have arrived already, should this process have been busy itself.
  const watch = setInterval(() => setImmediate(giveUpSilent), silence / 4).unref();
  const rejections = new Set<(error: Error) => void>();

  function lose(error: Error): void {
    if (cause) return;
    cause = error;
    clearInterval(watch);
    for (const reject of rejections) reject(new ConnectionLostError(error.message, { cause: error }));
    onLost(link, error);
  }

  function giveUpSilent(): void {
    if (pending > 0 && performance.now() - heardAt > silence) link.destroy(new Error("the server says nothing"));
  }

  async function send<Result>(query: () => Promise<Result>): Promise<Result> {
    if (cause) throw new ConnectionLostError(cause.message, { cause });
    const broken = Promise.withResolvers<never>();
    broken.promise.catch(() => undefined);
    rejections.add(broken.reject);
    if (pending === 0) heardAt = performance.now();
    pending += 1;
    try {
      return await Promise.race([query(), broken.promise]);
    } finally {
      pending -= 1;
      rejections.delete(broken.reject);
    }
  }

  async function execute<Row>({ name, text }: Statement<Row>, values: readonly Value[]) {
    if (values.some(holdsNul)) throw new CodedError("BAD_REQUEST", "text with a NUL character cannot be stored");
    return send(() => client.query<Row & pg.QueryResultRow>({ name, text, values: [...values] }));
  }

  const link: Link = {
    rows: async (statement, ...values) => (await execute(statement, values)).rows,
    row: async (statement, ...values) => (await execute(statement, values)).rows[0],
    run: async (statement, ...values) => (await execute(statement, values)).rowCount ?? 0,
    command: async (text) => (await send(() => client.query(text))).command,
    get lost() {
      return cause !== undefined;
    },
    get pending() {
      return pending;
    },
    client,
    destroy(why) {
      lose(why);
      breakConnection(client);
    },
    async end() {
      cause ??= new Error("the connection was closed");
      clearInterval(watch);
      await client.end().catch(() => undefined);
    },
  };
  client.on("error", lose);
  client.on("end", () => lose(new Error("the connection ended")));
  onServerMessage(client, ({ isError }) => {
    heardAt = performance.now();
    // It may be that it stops, or does not take us.
    if (!isError) onHeard();
  });
  try {
    await connectWithin(client, SETTINGS, { milliseconds: connectTimeout, signal });
    return link;
  } catch (error) {
    cause ??= error instanceof Error ? error : new Error(String(error));
    clearInterval(watch);
    client.end().catch(() => undefined);
    throw error;
  }
}
