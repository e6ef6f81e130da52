import { StoreProtocolError } from "./errors.ts";

/** One page of a list, with the mark of the next. */
export type Page = { readonly items: readonly string[]; readonly next: string | undefined };

/** The items of all pages. @throws StoreProtocolError when they go in a circle */
export async function* itemsOf(read: (mark: string | undefined) => Promise<Page>): AsyncGenerator<string> {
  for (let mark: string | undefined; ; ) {
    const { items, next } = await read(mark);
    yield* items;
    if (next === undefined) return;
    if (next === mark) throw new StoreProtocolError("the object store sends the same page of a list again");
    mark = next;
  }
}
