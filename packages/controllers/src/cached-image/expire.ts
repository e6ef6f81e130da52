import { isConflict, isNotFound } from "@cache-registry/kube/api-error";
import type { CachedImage } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import { CACHED_IMAGES } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";
import type { LiveUsage } from "./live-usage.ts";

/**
 * Deletes a CachedImage whose time is over, unless the API server itself says that it is needed: our copies may be behind.
 * @returns whether it is gone
 */
export type Expire = (object: CachedImage, reference: string, signal: AbortSignal) => Promise<boolean>;

export function createExpire(deps: {
  readonly client: KubeClient;
  readonly liveUsage: LiveUsage;
  readonly logger: Logger;
}): Expire {
  const { client, liveUsage, logger } = deps;
  return async (object, reference, signal) => {
    const { name, uid } = object.metadata;
    try {
      const live = await client.get(CACHED_IMAGES, { name }, { signal });
      const changed = live.metadata.uid !== uid || live.status?.unusedSince !== object.status?.unusedSince;
      if (changed || live.spec.retain) return false;
      const { pods, owners } = await liveUsage.usersOf(reference, signal);
      if (pods.length > 0 || owners.length > 0) {
        logger.info({ image: reference, pods: pods.length, owners: owners.length }, "image in use again, not expired");
        return false;
      }
      // The object as it was read above: a change since then (retain, a status that says it is used) stops the deletion.
      const { resourceVersion } = live.metadata;
      await client.delete(CACHED_IMAGES, { name }, { preconditions: { uid, resourceVersion }, signal });
      logger.info({ image: reference, unusedSince: live.status?.unusedSince }, "image expired");
      return true;
    } catch (error) {
      if (isNotFound(error)) return true;
      if (isConflict(error)) return false;
      throw error;
    }
  };
}
