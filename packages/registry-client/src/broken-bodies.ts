import { createRecentMap } from "./recent-map.ts";

/** What was being read. */
type Content = { readonly registry: string; readonly repository: string; readonly resource: string };

/**
 * Endpoints that began to send something and broke off. They are there, so nothing else is kept from them; but whoever
 * goes on reading asks the others first, or a stalling endpoint would be resumed until patience ends.
 */
export type BrokenBodies = {
  note(endpoint: URL, content: Content): void;
  /** The same endpoints; or others in the order, as those that broke this off lately are at the end. */
  last(endpoints: readonly string[], content: Content): readonly string[];
};

/** A failure is remembered for at most this long (DESIGN rule 6). */
const REMEMBERED_MS = 10_000;
const MAX_ENTRIES = 1_000;

export function createBrokenBodies({ now = () => performance.now() } = {}): BrokenBodies {
  const broken = createRecentMap<string, number>(MAX_ENTRIES);
  const keyOf = (endpoint: string, { registry, repository, resource }: Content): string =>
    JSON.stringify([new URL(endpoint).href, registry, repository, resource]);

  return {
    note: (endpoint, content) => broken.set(keyOf(endpoint.href, content), now() + REMEMBERED_MS),
    last(endpoints, content) {
      if (endpoints.length < 2 || broken.size === 0) return endpoints;
      const isBroken = (endpoint: string): boolean => (broken.get(keyOf(endpoint, content)) ?? 0) > now();
      const last = endpoints.filter(isBroken);
      return last.length === 0 ? endpoints : [...endpoints.filter((one) => !isBroken(one)), ...last];
    },
  };
}
