import type { Statement } from "./sqlite-statement.ts";

/** Characters in the texts of all rows together: some thousand rows. */
const DEFAULT_LIMIT = 2 * 2 ** 20;
/** Of a row beside its texts. */
const OVERHEAD = 200;

export type RecentRows = {
  /** The row by its key, the last ones from memory. What is not there is looked for each time. */
  over<Row extends object>(statement: Statement<Row>): (...key: string[]) => Row | undefined;
  /** To be called when something was written, before anybody is told so. */
  forget(): void;
};

/**
 * What every pull looks up, without asking SQLite again for as long as nothing is written: each look-up locks the file and
 * unlocks it again. Right because one process owns the database, all of whose writes pass by here (sqlite-channel.ts).
 */
export function createRecentRows(limit = DEFAULT_LIMIT): RecentRows {
  const all: Map<string, object>[] = [];
  let weight = 0;

  function forget(): void {
    for (const rows of all) rows.clear();
    weight = 0;
  }

  function keep(rows: Map<string, object>, key: string, row: object): void {
    const added = weigh(key, row);
    if (added > limit) return;
    if (weight + added > limit) forget();
    rows.set(key, row);
    weight += added;
  }

  return {
    forget,
    over<Row extends object>(statement: Statement<Row>) {
      const rows = new Map<string, Row>();
      all.push(rows);
      return (...key: string[]) => {
        const joined = key.join("\n");
        const known = rows.get(joined);
        if (known) return known;
        const row = statement.get(...key);
        if (row) keep(rows, joined, row);
        return row;
      };
    },
  };
}

function weigh(key: string, row: object): number {
  return Object.values(row).reduce<number>(
    (sum, value) => sum + (typeof value === "string" ? value.length : 0),
    key.length + OVERHEAD,
  );
}
