import { isConflict, isNotFound } from "@cache-registry/kube/api-error";
import { applyStatus } from "@cache-registry/kube/apply";
import type { CachedImage, CachedImageStatus } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import type { EventRecorder } from "@cache-registry/kube/events";
import type { Informer } from "@cache-registry/kube/informer";
import { DONE, type Reconcile, type Result } from "@cache-registry/kube/reconcile";
import { CACHED_IMAGES } from "@cache-registry/kube/resource";
import type { Lending, PullSecrets } from "../pull-secrets/pull-secrets.ts";
import { printSecretName } from "../pull-secrets/secret-name.ts";
import type { RegistryMonitor } from "../registry/registry-monitor.ts";
import type { Expire } from "./expire.ts";
import { type Lifetime, lifetimeOf } from "./expiry.ts";
import type { Prewarm } from "./prewarm.ts";
import { referenceOf } from "./source-index.ts";
import { statusOf, writeDelay } from "./status.ts";
import { expiredNote, transitionNotes } from "./transitions.ts";
import type { UsageIndex } from "./usage.ts";

export type CachedImageReconcilerDeps = {
  readonly client: KubeClient;
  readonly images: Pick<Informer<CachedImage, CachedImage>, "get" | "observe">;
  readonly usage: Pick<UsageIndex, "usersOf">;
  readonly prewarm: Prewarm;
  readonly expire: Expire;
  readonly monitor: Pick<RegistryMonitor, "down">;
  readonly events: EventRecorder;
  readonly expiryDelay: number;
  /** For objects that say nothing. Undefined: the registry decides. */
  readonly platforms: () => readonly string[] | undefined;
  readonly pullSecrets: PullSecrets;
  readonly now: () => Date;
};

export const FIELD_MANAGER = "cache-registry-controllers";

/** What stopped the expiry changes something here too, and brings us back sooner; this is for a watch that is behind. */
const AFTER_REFUSED_EXPIRY = 30_000;

/** CachedImage → warm in the registry for as long as something names it, with a status that says so. */
export function createCachedImageReconciler(deps: CachedImageReconcilerDeps): Reconcile {
  const { client, images, usage, prewarm, expire, monitor, events, expiryDelay, pullSecrets, now } = deps;
  /** Monotonic milliseconds of the last status write, by name. */
  const written = new Map<string, number>();

  function lifetime(object: CachedImage, reference: string): Lifetime {
    const { unusedSince } = object.status ?? {};
    return lifetimeOf({
      now: now(),
      users: usage.usersOf(reference),
      retain: object.spec.retain ?? false,
      unusedSince: unusedSince === undefined ? undefined : new Date(unusedSince),
      expiryDelay,
    });
  }

  /** Writes what changed and tells people about transitions. Returns milliseconds to wait when it is too early to write. */
  async function write(object: CachedImage, status: CachedImageStatus, signal: AbortSignal): Promise<number> {
    const { name } = object.metadata;
    const delay = writeDelay(
      object.status,
      status,
      performance.now() - (written.get(name) ?? Number.NEGATIVE_INFINITY),
    );
    if (delay > 0) return delay;
    const target = { client, resource: CACHED_IMAGES, current: object, status, fieldManager: FIELD_MANAGER, signal };
    const updated = await applyStatus(target);
    if (updated === undefined) return 0;
    written.set(name, performance.now());
    images.observe(updated);
    for (const note of transitionNotes(object.status, status)) await events.record(CACHED_IMAGES, object, note);
    return 0;
  }

  /** The Secrets for an image, read when the registry is to be told; what came of it goes into the status. */
  function secretsOf(object: CachedImage, reference: string | undefined) {
    const declared = object.spec.pullSecrets ?? [];
    const names = reference === undefined ? [] : pullSecrets.namesFor(reference, declared);
    let lending: Lending | undefined;
    return {
      key: names.map(printSecretName).join(","),
      async read(signal: AbortSignal) {
        if (reference === undefined || names.length === 0) return [];
        lending = await pullSecrets.read(reference, names, signal);
        return lending.credentials;
      },
      condition() {
        if (names.length > 0) return lending?.condition;
        return declared.length > 0 ? pullSecrets.notAllowed() : "none";
      },
    };
  }

  async function keepWarm(object: CachedImage, signal: AbortSignal): Promise<Result> {
    const reference = referenceOf(object);
    // An invalid reference names nothing, so nothing uses it: it fails, and expires like any other.
    const life = lifetime(object, reference ?? object.spec.sourceImage);
    if (life.keep === undefined) {
      if (!(await expire(object, reference ?? object.spec.sourceImage, signal))) {
        return { requeueAfter: AFTER_REFUSED_EXPIRY };
      }
      written.delete(object.metadata.name);
      await events.record(CACHED_IMAGES, object, expiredNote());
      return DONE;
    }
    const platforms = object.spec.platforms?.length ? object.spec.platforms : deps.platforms();
    const secrets = secretsOf(object, reference);
    const wish = { platforms, wanted: life.inUse || object.spec.retain === true, secrets };
    const observation = reference === undefined ? undefined : await prewarm.observe(reference, wish, signal);
    const status = statusOf({
      now: now(),
      current: object.status,
      users: usage.usersOf(reference ?? object.spec.sourceImage),
      lifetime: life,
      observation,
      pullSecrets: secrets.condition(),
      down: monitor.down,
    });
    const tooEarly = await write(object, status, signal);
    return { requeueAfter: soonest([tooEarly || undefined, observation?.lookAgainAfter, untilExpiry(life, now())]) };
  }

  return async (key, signal) => {
    const object = images.get(key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      written.delete(key);
      return DONE;
    }
    try {
      return await keepWarm(object, signal);
    } catch (error) {
      // Deleted, or deleted and made again, while we looked: its own event brings us back.
      if (isNotFound(error) || isConflict(error)) return DONE;
      throw error;
    }
  };
}

function soonest(delays: readonly (number | undefined)[]): number | undefined {
  const known = delays.filter((delay) => delay !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** A moment after the second that the status names, so that it is over when we look. */
function untilExpiry({ expiresAt }: Lifetime, now: Date): number | undefined {
  return expiresAt && Math.max(0, expiresAt.getTime() - now.getTime()) + 50;
}
