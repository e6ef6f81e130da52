import type { ClientBase } from "pg";
import { FIRST_SCHEMA } from "./0001-first.ts";

/** In the order of their application, forward only; a published one is never edited. */
const MIGRATIONS: readonly string[] = [FIRST_SCHEMA];

export const SCHEMA_VERSION = MIGRATIONS.length;

/** Any number that all versions share: the key of the advisory lock under which one of many replicas migrates. */
const MIGRATION_LOCK = 7_439_500_017;

/** The database was written by a newer program, or is not fit for this one: waiting does not help. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";
}

/**
 * Brings the database to this program's schema, all steps in one transaction. Replicas that start at once wait for the
 * first, and find nothing to do.
 * @throws SchemaError
 */
export async function migrate(client: Pick<ClientBase, "query">): Promise<void> {
  const encoding = await client.query<{ server_encoding: string }>("SHOW server_encoding");
  if (encoding.rows[0]?.server_encoding !== "UTF8") {
    throw new SchemaError(`the database has encoding ${encoding.rows[0]?.server_encoding}: UTF8 is needed`);
  }
  await client.query("BEGIN");
  try {
    // Others may be at it for as long as an index takes.
    await client.query("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0");
    await client.query(`SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`);
    await client.query("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)");
    const found = await client.query<{ version: number }>("SELECT version FROM schema_version");
    const version = found.rows[0]?.version ?? 0;
    if (version > SCHEMA_VERSION) {
      throw new SchemaError(
        `the database has schema version ${version}, this program knows up to ${SCHEMA_VERSION}: run the newer cache-registry that wrote it`,
      );
    }
    for (const migration of MIGRATIONS.slice(version)) await client.query(migration);
    if (version < SCHEMA_VERSION) {
      await client.query("DELETE FROM schema_version");
      await client.query(`INSERT INTO schema_version VALUES (${SCHEMA_VERSION})`);
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}
