import type { KubeClient } from "@cache-registry/kube/client";
import { keyOf } from "@cache-registry/kube/object";
import { eachObject } from "@cache-registry/kube/pages";
import { PODS } from "@cache-registry/kube/resource";
import { type CacheNames, usedReferences } from "../pod/pod-images.ts";
import { isOver } from "../pod/pod-record.ts";
import { OWNER_KINDS } from "./consumers.ts";
import { type Consumer, createUsageIndex, type UsageIndex, type Users } from "./usage.ts";

/** Who uses an image by the API server's own word, for the moment before something is deleted. */
export interface LiveUsage {
  /** The look at the API server begins after this call; all that ask meanwhile share the next one. */
  usersOf(reference: string, signal: AbortSignal): Promise<Users>;
}

/**
 * Pods cannot be selected by image, so this reads all of them: page by page, keeping only who names a wanted image. It runs
 * when an image is about to expire, and one run serves every image that expires at that time.
 */
export function createLiveUsage(options: {
  readonly client: KubeClient;
  readonly names: CacheNames;
  readonly revisionsKept: number;
}): LiveUsage {
  const { client, names, revisionsKept } = options;
  let wanted = new Set<string>();
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<UsageIndex> | undefined;

  async function look(signal: AbortSignal): Promise<UsageIndex> {
    const references = wanted;
    wanted = new Set();
    next = undefined;
    const index = createUsageIndex({ revisionsKept });
    const put = (consumer: Consumer): void => {
      // Revisions are compared with their siblings, so those are kept whatever they name.
      if (consumer.revision || consumer.images.some((image) => references.has(image))) index.put(consumer);
    };
    for await (const pod of eachObject(client, PODS, { signal })) {
      if (!isOver(pod)) put({ key: `Pod/${keyOf(pod)}`, images: usedReferences(pod.spec, names) });
    }
    for (const kind of OWNER_KINDS) {
      const intern = (reference: string): string => reference;
      for await (const object of eachObject(client, kind.resource, { signal })) {
        put(kind.consumerOf(object, { names, intern }));
      }
    }
    return index;
  }

  return {
    async usersOf(reference, signal) {
      wanted.add(reference);
      if (next === undefined) {
        const previous = running;
        next = previous.catch(() => undefined).then(() => look(signal));
        running = next;
      }
      return (await next).usersOf(reference);
    },
  };
}
