import type { DatabaseSync } from "node:sqlite";
import { CodedError } from "@cache-registry/core/errors";
import type { RepositoryKey } from "../metadata-store.ts";
import { prepare } from "../sqlite-statement.ts";

export type RepositoryRow = { readonly id: number; readonly upstream: string | null };

/** Rows appear with the first content of a repository and go, by trigger, with the last. */
export type Repositories = ReturnType<typeof createRepositories>;

export function createRepositories(db: DatabaseSync) {
  const find = prepare<RepositoryRow>(db, "SELECT id, upstream FROM repositories WHERE name = ?");
  const insert = prepare<RepositoryRow>(
    db,
    "INSERT INTO repositories (name, upstream) VALUES (?, ?) RETURNING id, upstream",
  );

  return {
    find: (name: string): RepositoryRow | undefined => find.get(name),
    /**
     * The repository's id, made when it is new.
     * @throws CodedError DENIED when the name belongs to another origin: cached content must never become pushed content
     */
    ensure(key: RepositoryKey): number {
      const row = find.get(key.name) ?? insert.get(key.name, key.upstream);
      if (!row) throw new Error(`repository ${key.name} could not be made`);
      if (row.upstream !== key.upstream) {
        throw new CodedError("DENIED", `repository ${key.name} belongs to ${row.upstream ?? "this registry itself"}`);
      }
      return row.id;
    },
  };
}
