import { CodedError } from "@cache-registry/core/errors";
import type { ClientConfig } from "pg";
import pg from "pg";
import { ConnectionLostError } from "./errors.ts";
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
  /** Milliseconds. */
  readonly connectTimeout: number;
  /** The server said something. */
  readonly onHeard: () => void;
  readonly onLost: (link: Link, error: Error) => void;
};

/** @throws what the server or the network says */
export async function openLink({ config, connectTimeout, onHeard, onLost }: LinkOptions): Promise<Link> {
  const client = new pg.Client({
    ...config,
    application_name: "cache-registry",
    connectionTimeoutMillis: connectTimeout,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    pipeline: true,
    ...(types ? { types } : {}),
  });
  let cause: Error | undefined;
  let pending = 0;
  const rejections = new Set<(error: Error) => void>();

  function lose(error: Error): void {
    if (cause) return;
    cause = error;
    for (const reject of rejections) reject(new ConnectionLostError(error.message, { cause: error }));
    onLost(link, error);
  }

  async function send<Result>(query: () => Promise<Result>): Promise<Result> {
    if (cause) throw new ConnectionLostError(cause.message, { cause });
    const broken = Promise.withResolvers<never>();
    broken.promise.catch(() => undefined);
    rejections.add(broken.reject);
    pending += 1;
    try {
      const result = await Promise.race([query(), broken.promise]);
      onHeard();
      return result;
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
      // Not `end`, which would wait for what is pending.
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    },
    async end() {
      cause ??= new Error("the connection was closed");
      await client.end().catch(() => undefined);
    },
  };
  client.on("error", lose);
  client.on("end", () => lose(new Error("the connection ended")));
  try {
    await client.connect();
    await client.query(SETTINGS);
    onHeard();
    return link;
  } catch (error) {
    cause ??= error instanceof Error ? error : new Error(String(error));
    client.end().catch(() => undefined);
    throw error;
  }
}
