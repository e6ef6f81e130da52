import type { DatabaseSync, SQLInputValue } from "node:sqlite";

/** SQL: the id of the repository whose name is the next parameter. */
export const REPOSITORY_ID = "(SELECT id FROM repositories WHERE name = ?)";

/** A negative LIMIT means none in SQLite: no caller gets the whole table by accident. */
export const bounded = (limit: number): number => Math.max(0, Math.floor(limit));

/** A prepared statement with the shape of its rows stated once, beside its SQL. */
export type Statement<Row> = {
  get(...values: SQLInputValue[]): Row | undefined;
  all(...values: SQLInputValue[]): Row[];
  /** Number of rows changed. */
  run(...values: SQLInputValue[]): number;
};

/** `Row` is what the SQL selects: nothing checks it, so keep both in view of each other. */
export function prepare<Row = Record<string, never>>(db: DatabaseSync, sql: string): Statement<Row> {
  const statement = db.prepare(sql);
  return {
    // Spread: rows come with a null prototype, which callers that log or compare them trip over.
    get(...values) {
      const row = statement.get(...values);
      return row && ({ ...row } as Row);
    },
    all: (...values) => statement.all(...values).map((row) => ({ ...row }) as Row),
    run: (...values) => Number(statement.run(...values).changes),
  };
}
