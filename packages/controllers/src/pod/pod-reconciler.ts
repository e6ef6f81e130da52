import { isConflict } from "@cache-registry/kube/api-error";
import { type CachedImage, cachedImageName } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import type { Informer } from "@cache-registry/kube/informer";
import { DONE, type Reconcile } from "@cache-registry/kube/reconcile";
import { apiVersionOf, CACHED_IMAGES } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";
import type { SourceIndex } from "../cached-image/source-index.ts";
import type { PullSecrets } from "../pull-secrets/pull-secrets.ts";
import { printSecretName } from "../pull-secrets/secret-name.ts";
import type { PodRecord } from "./pod-record.ts";

export type PodReconcilerDeps = {
  readonly client: KubeClient;
  readonly pods: Pick<Informer<PodRecord>, "get">;
  readonly images: Pick<Informer<CachedImage, CachedImage>, "get" | "observe">;
  readonly sources: SourceIndex;
  readonly pullSecrets: Pick<PullSecrets, "namesFor">;
  readonly logger: Logger;
};

/** Server-side apply: each list of Secrets replaces the one before, and touches nobody else's. */
const SECRETS_MANAGER = "cache-registry-pods";

/** Labelled pod → one CachedImage per image, however many pods name it. Expiry is the other controller's work. */
export function createPodReconciler({
  client,
  pods,
  images,
  sources,
  pullSecrets,
  logger,
}: PodReconcilerDeps): Reconcile {
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

  /** Which Secrets help to fetch the image; only in the record that we made ourselves. Users may add others. */
  async function recordSecrets(reference: string, signal: AbortSignal): Promise<void> {
    const current = images.get(cachedImageName(reference));
    if (current === undefined) return;
    const known = new Set((current.spec.pullSecrets ?? []).map(printSecretName));
    const names = pullSecrets.namesFor(reference, []);
    if (names.every((name) => known.has(printSecretName(name)))) return;
    const { name } = current.metadata;
    const object: CachedImage = {
      apiVersion: apiVersionOf(CACHED_IMAGES),
      kind: CACHED_IMAGES.kind,
      metadata: { name },
      spec: { sourceImage: current.spec.sourceImage, pullSecrets: names.map((secret) => ({ ...secret })) },
    };
    images.observe(await client.apply(CACHED_IMAGES, object, { fieldManager: SECRETS_MANAGER, signal }));
  }

  return async (key, signal) => {
    const pod = pods.get(key);
    for (const reference of pod?.recorded ?? []) {
      if (!sources.has(reference)) await record(reference, signal);
      if (pod?.pullSecrets.length) await recordSecrets(reference, signal);
    }
    return DONE;
  };
}
