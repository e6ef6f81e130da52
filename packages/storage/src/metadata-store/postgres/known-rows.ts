import { isCodedError } from "@cache-registry/core/errors";

/** About the bytes that the rows take in memory. */
const DEFAULT_LIMIT = 32 * 2 ** 20;
/** Of an entry without its texts. */
const OVERHEAD = 200;

export type KnownRows = {
  /**
   * What the database says, remembered when it is something; while the database cannot be reached, what it said last.
   * @throws what `ask` throws, when nothing is remembered or `usable` refuses it
   */
  read<Row>(key: string, ask: () => Promise<Row | undefined>, usable?: (row: Row) => boolean): Promise<Row | undefined>;
  /** Known from a write of our own. */
  put(key: string, row: unknown): void;
  /** Before and after a write that takes the row away: a read on its way does not bring it back. */
  forget(key: string): void;
  has(key: string): boolean;
  readonly bytes: number;
};

type Load = { readonly key: string; outdated: boolean };

/**
 * Rows that were read lately, the longest unused dropped first. They are used only while the database is out of reach
 * (rule 19): at other times another replica may have changed them, and asking is the only way to know.
 */
export function createKnownRows(limit = DEFAULT_LIMIT): KnownRows {
  const rows = new Map<string, { readonly row: unknown; readonly bytes: number }>();
  const loads = new Set<Load>();
  let bytes = 0;

  function drop(key: string): void {
    bytes -= rows.get(key)?.bytes ?? 0;
    rows.delete(key);
  }

  function put(key: string, row: unknown): void {
    drop(key);
    const entry = { row, bytes: OVERHEAD + 2 * key.length + weigh(row) };
    rows.set(key, entry);
    bytes += entry.bytes;
    for (const oldest of rows.keys()) {
      if (bytes <= limit) return;
      drop(oldest);
    }
  }

  return {
    async read<Row>(key: string, ask: () => Promise<Row | undefined>, usable: (row: Row) => boolean = () => true) {
      const load: Load = { key, outdated: false };
      loads.add(load);
      try {
        const row = await ask();
        if (!load.outdated) {
          if (row === undefined) drop(key);
          else put(key, row);
        }
        return row;
      } catch (error) {
        const known = rows.get(key);
        if (!known || !isUnavailable(error) || !usable(known.row as Row)) throw error;
        return known.row as Row;
      } finally {
        loads.delete(load);
      }
    },
    put,
    forget(key) {
      drop(key);
      for (const load of loads) {
        if (load.key === key) load.outdated = true;
      }
    },
    has: (key) => rows.has(key),
    get bytes() {
      return bytes;
    },
  };
}

function isUnavailable(error: unknown): boolean {
  return isCodedError(error) && error.code === "UNAVAILABLE";
}

/** Texts in it, as they lie in memory; `OVERHEAD` for each object within. */
function weigh(value: unknown): number {
  if (typeof value === "string") return 2 * value.length;
  if (typeof value !== "object" || value === null) return 0;
  return Object.entries(value).reduce(
    (sum, [key, item]) => sum + weigh(item) + (typeof item === "object" ? OVERHEAD : 2 * key.length),
    0,
  );
}
