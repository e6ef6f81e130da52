import type { DatabaseSync } from "node:sqlite";
import { FIRST_SCHEMA } from "./0001-first.ts";
import { REFERRERS_SCHEMA } from "./0002-referrers.ts";
import { EVICTION_SCHEMA } from "./0003-eviction.ts";
import { CATALOG_SCHEMA } from "./0004-catalog.ts";

/** In the order of their application, forward only; a published one is never edited. `user_version` counts those applied. */
const MIGRATIONS: readonly string[] = [FIRST_SCHEMA, REFERRERS_SCHEMA, EVICTION_SCHEMA, CATALOG_SCHEMA];

export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Brings the database to this program's schema; each step is one transaction.
 * @throws Error when the database was written by a newer program
 */
export function migrate(db: DatabaseSync, file: string): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
  if (version > SCHEMA_VERSION) {
    throw new Error(
      `${file} has schema version ${version}, this program knows up to ${SCHEMA_VERSION}: run the newer cache-registry that wrote it`,
    );
  }
  MIGRATIONS.slice(version).forEach((sql, index) => {
    db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${version + index + 1}; COMMIT`);
  });
}
