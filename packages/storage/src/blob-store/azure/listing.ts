import { StoreProtocolError } from "../object-store/errors.ts";
import { itemsOf, type Page } from "../object-store/pages.ts";
import { elementsOf, rootOf, textOf } from "../object-store/xml.ts";
import type { AzureClient } from "./client.ts";

export function keysBelow(client: AzureClient, prefix: string): AsyncGenerator<string> {
  return itemsOf(async (marker) => listPage(client, { prefix, ...(marker === undefined ? {} : { marker }) }));
}

/** One page of List Blobs. @throws StoreProtocolError when it is not whole */
export async function listPage(client: AzureClient, query: Readonly<Record<string, string>>): Promise<Page> {
  const list = { restype: "container", comp: "list", ...query };
  const root = rootOf(await client.text({ method: "GET", name: "", query: list }), "EnumerationResults");
  const items = elementsOf(root, "Blob").map((blob) => {
    const name = textOf(blob, "Name");
    if (name === undefined) throw new StoreProtocolError("the object store listed an object without a name");
    return name;
  });
  // Always there: empty on the last page.
  if (/<NextMarker\s*\/>|<NextMarker><\/NextMarker>/.test(root)) return { items, next: undefined };
  const next = textOf(root, "NextMarker");
  if (!next) throw new StoreProtocolError("the object store did not say how its list goes on");
  return { items, next };
}
