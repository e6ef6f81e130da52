import { CodedError } from "@cache-registry/core/errors";
import type { RepositoryKey } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";

export type RepositoryRow = { readonly id: number; readonly upstream: string | null };

/*
 * The row of a repository is the lock for all that it holds: whoever writes manifests, references, tags, links or their
 * reviews has it, and takes it before that of any blob. Several are taken in the order of their ids. Rows appear with the
 * first content and go, by trigger, with the last.
 */

const LOCK = sql<RepositoryRow>("SELECT id, upstream FROM repositories WHERE name = $1 FOR NO KEY UPDATE");
const LOCK_IDS = sql<{ id: number }>(
  "SELECT id FROM repositories WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE",
);
const LOCK_NAMES = sql<{ id: number }>(
  "SELECT id FROM repositories WHERE name = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE",
);
const ENSURE = sql<RepositoryRow>(
  `INSERT INTO repositories (name, upstream) VALUES ($1, $2)
   ON CONFLICT (name) DO UPDATE SET links = repositories.links RETURNING id, upstream`,
);

/** Undefined when there is none. */
export function lockRepository(session: Session, name: string): Promise<RepositoryRow | undefined> {
  return session.row(LOCK, name);
}

/** The ids of those that are there. */
export async function lockRepositories(session: Session, ids: readonly number[]): Promise<number[]> {
  if (ids.length === 0) return [];
  return (await session.rows(LOCK_IDS, [...new Set(ids)])).map(({ id }) => id);
}

export async function lockRepositoriesByName(session: Session, names: readonly string[]): Promise<void> {
  await session.rows(LOCK_NAMES, [...new Set(names)]);
}

/** The repository, locked, made when it is new. `assertOrigin` before anything is written. */
export async function ensureRepository(session: Session, key: RepositoryKey): Promise<RepositoryRow> {
  const row = await session.row(ENSURE, key.name, key.upstream);
  if (!row) throw new Error(`repository ${key.name} could not be made`);
  return row;
}

/** @throws CodedError DENIED when the name belongs to another origin: cached content must never become pushed content */
export function assertOrigin(row: RepositoryRow, key: RepositoryKey): void {
  if (row.upstream === key.upstream) return;
  throw new CodedError("DENIED", `repository ${key.name} belongs to ${row.upstream ?? "this registry itself"}`);
}
