import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import type { Link } from "./link.ts";

/** With so many unanswered statements on every connection one more is opened. */
const BUSY = 8;

export type Readers = { pick(): Promise<Link> };

/**
 * Connections that all readers share: each read is a statement of its own, sent right behind those of others, so a few
 * connections carry many and nobody waits for a free one.
 */
export function createReaders({ open, max }: { open: () => Promise<Link>; max: number }): Readers {
  const links = new Set<Link>();
  const opening = createSingleFlight<Link>();

  async function add(): Promise<Link> {
    const link = await open();
    links.add(link);
    return link;
  }

  return {
    async pick() {
      let best: Link | undefined;
      for (const link of links) {
        if (link.lost) links.delete(link);
        else if (!best || link.pending < best.pending) best = link;
      }
      if (best && (best.pending < BUSY || links.size >= max)) return best;
      const added = opening.run("reader", add);
      if (!best) return added;
      added.catch(() => undefined);
      return best;
    },
  };
}
