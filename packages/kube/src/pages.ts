import type { KubeClient, ListOptions } from "./client.ts";
import type { KubeObject } from "./object.ts";
import type { Resource } from "./resource.ts";

const PAGE = 500;

/**
 * Every object of a list, of which one page at a time is in memory.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
 */
export async function* eachObject<T extends KubeObject>(
  client: Pick<KubeClient, "list">,
  resource: Resource<T>,
  options: Omit<ListOptions, "limit" | "continue"> = {},
): AsyncGenerator<T> {
  let next: string | undefined;
  do {
    const page = await client.list(resource, {
      ...options,
      limit: PAGE,
      ...(next === undefined ? {} : { continue: next }),
    });
    yield* page.items;
    next = page.metadata.continue || undefined;
  } while (next !== undefined);
}
