import type { KubeClient } from "@cache-registry/kube/client";
import { DONE, type Reconcile } from "@cache-registry/kube/reconcile";
import { CACHED_IMAGES } from "@cache-registry/kube/resource";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { ManagementClient } from "../registry/management-client.ts";
import type { Prewarm } from "./prewarm.ts";
import { referenceOf, type SourceIndex } from "./source-index.ts";

export type ReleaseDeps = {
  readonly client: KubeClient;
  readonly registry: Pick<ManagementClient, "release" | "references">;
  readonly owner: string;
  readonly sources: SourceIndex;
  readonly prewarm: Pick<Prewarm, "forget" | "roomMade">;
  readonly logger: Logger;
};

/** Reconciles references: what no CachedImage names (any more) is given back by the registry. */
export function createReleaseReconciler(
  deps: ReleaseDeps & { readonly enqueueImage: (name: string) => void },
): Reconcile {
  const { registry, owner, sources, prewarm, logger, enqueueImage } = deps;
  return async (reference, signal) => {
    if (sources.has(reference)) return DONE;
    prewarm.forget(reference);
    await registry.release(reference, owner, signal);
    logger.info({ image: reference }, "image released");
    // Recorded again meanwhile: what the new record asked for may have gone with the old one.
    prewarm.forget(reference);
    for (const waiting of [reference, ...prewarm.roomMade()]) {
      for (const name of sources.namesOf(waiting)) enqueueImage(name);
    }
    return DONE;
  };
}

/**
 * Compares the registry's list with the CachedImages. It takes the place of finalizers, which would hang when the
 * controllers are gone: whatever was deleted while nobody watched is found here.
 */
export function createReleaseSweep(
  deps: ReleaseDeps & {
    readonly interval: number;
    readonly enqueueRelease: (reference: string) => void;
    readonly enqueueImage: (name: string) => void;
  },
): (signal: AbortSignal) => Promise<void> {
  const { client, registry, owner, sources, prewarm, logger } = deps;

  /** By the API server's own word: a release cannot be taken back. */
  async function recorded(signal: AbortSignal): Promise<Set<string>> {
    const references = new Set<string>();
    let token: string | undefined;
    do {
      const page = await client.list(CACHED_IMAGES, { limit: 500, continue: token, signal });
      for (const object of page.items) references.add(referenceOf(object) ?? object.spec.sourceImage);
      token = page.metadata.continue || undefined;
    } while (token !== undefined);
    return references;
  }

  async function sweep(signal: AbortSignal): Promise<void> {
    const before = [...sources.references()];
    const held = new Set<string>();
    for await (const reference of registry.references(owner, signal)) held.add(reference);
    const orphans = [...held].filter((reference) => !sources.has(reference));
    const keep = orphans.length === 0 ? new Set<string>() : await recorded(signal);
    for (const reference of orphans) if (!keep.has(reference)) deps.enqueueRelease(reference);
    // The other way round: what the registry should hold and does not is asked for again.
    for (const reference of before) {
      if (held.has(reference)) continue;
      prewarm.forget(reference);
      for (const name of sources.namesOf(reference)) deps.enqueueImage(name);
    }
  }

  return async (signal) => {
    while (!signal.aborted) {
      try {
        await sweep(signal);
      } catch (error) {
        if (!signal.aborted) logger.debug({ err: error }, "comparison with the registry failed");
      }
      await sleep(deps.interval * (0.9 + Math.random() * 0.2), signal).catch(() => undefined);
    }
  };
}
