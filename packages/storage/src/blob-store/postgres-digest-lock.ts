import { createHash } from "node:crypto";
import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import type { PostgresConnection, PostgresSession } from "../lease-store/postgres-session.ts";
import { createDigestLock, type DigestLock } from "./digest-lock.ts";

/** Somebody else writes the same content now: its turn takes milliseconds, seconds for what an object store takes slowly. */
const PATIENCE_MS = 15_000;
const LONGEST_PAUSE_MS = 50;

/**
 * The digest lock of many replicas: an advisory lock of PostgreSQL on the replica's own connection. It lives with that
 * connection: as long as the server answers on it the lock was never anybody else's, and with the first doubt it is lost.
 * So it is asked once more at the end, and whoever loses it meanwhile acknowledges nothing (docs/adr/0018).
 */
export function createPostgresDigestLock(session: PostgresSession): DigestLock {
  // Those of this process wait here, without asking the server.
  const local = createDigestLock();

  async function acquire(connection: PostgresConnection, key: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let pause = 2; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      const [row] = await connection.query<{ mine: boolean }>("SELECT pg_try_advisory_lock($1::bigint) AS mine", [key]);
      if (row?.mine) return;
      if (performance.now() > deadline)
        throw unavailable("other replicas are writing the same content; try again later");
      await sleep(pause * (0.5 + Math.random()));
    }
  }

  /** False when it may have been lost. */
  async function release(connection: PostgresConnection, key: string): Promise<boolean> {
    const [row] = await connection.query<{ mine: boolean }>("SELECT pg_advisory_unlock($1::bigint) AS mine", [key]);
    return row?.mine === true;
  }

  return {
    run: (digest, task) =>
      local.run(digest, async () => {
        const connection = await session.connection();
        const key = keyOf(digest);
        await acquire(connection, key);
        let value: Awaited<ReturnType<typeof task>>;
        try {
          value = await task({ confirm: async () => void (await connection.query("SELECT 1")) });
        } catch (error) {
          // Not to be had any more, it is free anyway.
          await release(connection, key).catch(() => undefined);
          throw error;
        }
        if (!(await release(connection, key))) throw unavailable("a lock was lost while content was written");
        return value;
      }),
    get size() {
      return local.size;
    },
  };
}

/** 64 bits of a hash. Two digests with the same ones only wait for each other. */
function keyOf(digest: Digest): string {
  return createHash("sha256").update(`digest ${digest}`).digest().readBigInt64BE().toString();
}

function unavailable(message: string): CodedError {
  return new CodedError("UNAVAILABLE", message, { headers: { "retry-after": "1" } });
}
