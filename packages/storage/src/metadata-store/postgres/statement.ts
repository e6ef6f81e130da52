import { createHash } from "node:crypto";

/** A parameter; arrays go into `ANY($n)` and `unnest($n)`. */
export type Value = string | number | boolean | null | readonly string[] | readonly number[] | readonly boolean[];

/**
 * A statement with the shape of its rows stated once, beside its SQL: nothing checks it, so keep both in view of each
 * other. Each connection prepares it at its first use, under a name that is the same in every process.
 */
export type Statement<Row> = { readonly name: string; readonly text: string; readonly row?: Row };

const defined: Statement<unknown>[] = [];

export function sql<Row = Record<string, never>>(text: string): Statement<Row> {
  const statement = { name: `creg_${createHash("sha256").update(text).digest("hex").slice(0, 24)}`, text };
  defined.push(statement);
  return statement;
}

/** Every statement of the modules that were loaded so far: for tests of their plans. */
export function definedStatements(): readonly Statement<unknown>[] {
  return defined;
}

/** What a statement runs on: a connection, alone or inside a transaction. */
export type Session = {
  rows<Row>(statement: Statement<Row>, ...values: Value[]): Promise<Row[]>;
  row<Row>(statement: Statement<Row>, ...values: Value[]): Promise<Row | undefined>;
  /** Number of rows changed. */
  run(statement: Statement<unknown>, ...values: Value[]): Promise<number>;
};

/** SQL: the id of the repository whose name is parameter `$n`. */
export const repositoryId = (n: number): string => `(SELECT id FROM repositories WHERE name = $${n})`;

/** A page that no caller can make the whole table. */
export const bounded = (limit: number): number => Math.max(0, Math.floor(limit));
