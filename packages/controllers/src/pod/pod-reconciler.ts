import { isConflict } from "@cache-registry/kube/api-error";
import { type CachedImage, cachedImageName } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import type { Informer } from "@cache-registry/kube/informer";
import { DONE, type Reconcile } from "@cache-registry/kube/reconcile";
import { apiVersionOf, CACHED_IMAGES } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";
import type { SourceIndex } from "../cached-image/source-index.ts";
import type { PodRecord } from "./pod-record.ts";

export type PodReconcilerDeps = {
  readonly client: KubeClient;
  readonly pods: Pick<Informer<PodRecord>, "get">;
  readonly images: Pick<Informer<CachedImage, CachedImage>, "observe">;
  readonly sources: SourceIndex;
  readonly logger: Logger;
};

/** Labelled pod → one CachedImage per image, however many pods name it. Expiry is the other controller's work. */
export function createPodReconciler({ client, pods, images, sources, logger }: PodReconcilerDeps): Reconcile {
  async function record(reference: string, signal: AbortSignal): Promise<void> {
    const object: CachedImage = {
      apiVersion: apiVersionOf(CACHED_IMAGES),
      kind: CACHED_IMAGES.kind,
      metadata: { name: cachedImageName(reference) },
      // Nothing else: what is not written here, `retain` above all, is the user's to set.
      spec: { sourceImage: reference },
    };
    try {
      images.observe(await client.create(CACHED_IMAGES, object, { signal }));
      logger.info({ image: reference, cachedImage: object.metadata.name }, "image recorded");
    } catch (error) {
      // Another pod's reconciliation was faster, or our copy is behind.
      if (!isConflict(error)) throw error;
    }
  }

  return async (key, signal) => {
    for (const reference of pods.get(key)?.recorded ?? []) {
      if (!sources.has(reference)) await record(reference, signal);
    }
    return DONE;
  };
}
