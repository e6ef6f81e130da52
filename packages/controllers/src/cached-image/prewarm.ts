import { messageOf } from "@cache-registry/core/errors";
import { type Backoff, createBackoff } from "@cache-registry/runtime/backoff";
import {
  type ManagementClient,
  type RegistryImage,
  RegistryRefusal,
  type WarmUpWish,
} from "../registry/management-client.ts";
import type { RegistryMonitor } from "../registry/registry-monitor.ts";
import { type RefreshTiming, refreshPause } from "./refresh.ts";
import { NO_SPACE } from "./status.ts";

/** What the registry says of an image, or why nobody knows. */
export type Observation =
  | { readonly kind: "known"; readonly image: RegistryImage; readonly lookAgainAfter: number }
  | { readonly kind: "unreachable"; readonly lookAgainAfter: number };

export type Wish = {
  /** Undefined: the registry decides. */
  readonly platforms: readonly string[] | undefined;
  /** Somebody waits for the image: failures are tried again. */
  readonly wanted: boolean;
  /** Of a private image. */
  readonly secrets?: WishSecrets;
};

export type WishSecrets = {
  /** Which Secrets; empty: none. Others than before are handed over at once. */
  readonly key: string;
  /** Undefined: what was handed over before may still be right. Rejects only with the signal's reason. */
  readonly read: (signal: AbortSignal) => Promise<WarmUpWish["credentials"]>;
};

/** Keeps images warm in the registry. What it remembers is only when to ask again: the truth is the registry's store. */
export interface Prewarm {
  /** Asks for the image if need be, and looks how far it is. Rejects only with the signal's reason. */
  observe(reference: string, wish: Wish, signal: AbortSignal): Promise<Observation>;
  /** The registry has dropped the image: ask for it anew. */
  forget(reference: string): void;
  /** Something was unpinned: what did not fit is tried again soon. Returns the references. */
  roomMade(): readonly string[];
}

/** Milliseconds. */
export type PrewarmTiming = RefreshTiming & {
  /** Pins are leases of 7 days. */
  readonly renewPin: number;
  /** The registry keeps credentials in memory only. */
  readonly repeatCredentials: number;
  /** How long the registry takes to notice that a tag moved once it was told to look. */
  readonly lookAfterRefresh: number;
  readonly lookAtReady: number;
  readonly lookAtStale: number;
  readonly lookAtMoving: number;
  readonly lookAtUnreachable: number;
  readonly retryInitial: number;
  readonly retryMax: number;
  /** Without room: before somebody unpins or the quota grows, each try only evicts what others pull. */
  readonly retryNoSpaceInitial: number;
  readonly retryNoSpaceMax: number;
};

export const PREWARM_TIMING: PrewarmTiming = {
  renewPin: 86_400_000,
  repeatCredentials: 600_000,
  lookAfterRefresh: 5_000,
  refresh: 600_000,
  refreshStale: 300_000,
  lookAtReady: 300_000,
  lookAtStale: 60_000,
  lookAtMoving: 1_000,
  lookAtUnreachable: 15_000,
  // The registry itself remembers a failure for 10 s.
  retryInitial: 10_000,
  retryMax: 300_000,
  retryNoSpaceInitial: 60_000,
  retryNoSpaceMax: 600_000,
};

/** Looks per second at images that wait, and as many at images on their way, all together. */
const MAX_LOOKS = 10;
/** Whoever frees room usually frees more. Milliseconds. */
const RETRY_WITH_ROOM = 5_000;
/** Pending for so long although asked for: whatever was asked is forgotten there. */
const ASK_AGAIN = 10_000;

type Memory = {
  /** When and of which running registry, with which platforms, the image was asked for. */
  asked?: { readonly at: number; readonly instance: string | undefined; readonly what: string };
  /** When the tag may have moved. */
  refreshAt?: number;
  /** An image that is here stays so until there is reason to ask: each pod of a rollout is not one. */
  seen?: { readonly image: RegistryImage; readonly until: number };
  failures?: { readonly noSpace: boolean; readonly backoff: Backoff };
  retryAt?: number;
};

export type PrewarmDeps = {
  readonly registry: Pick<ManagementClient, "warmUp" | "image">;
  readonly monitor: Pick<RegistryMonitor, "instance" | "refresh">;
  readonly owner: string;
  /** Monotonic milliseconds. */
  readonly clock: () => number;
  readonly timing: PrewarmTiming;
};

export function createPrewarm({ registry, monitor, owner, clock, timing }: PrewarmDeps): Prewarm {
  const memories = new Map<string, Memory>();
  /** Asked for a moment ago, so that the next look comes soon. */
  const afterRefresh = new Set<string>();
  const moving = { pending: new Set<string>(), pulling: new Set<string>() };

  async function ask(reference: string, wish: Wish, signal: AbortSignal): Promise<void> {
    const { platforms, secrets } = wish;
    const credentials = await secrets?.read(signal);
    await registry.warmUp(reference, { owner, platforms, credentials }, signal);
    const memory = memories.get(reference) ?? {};
    if (memory.asked?.instance !== monitor.instance) {
      // What failed there has no bearing on what a registry that was started anew can fetch.
      memory.failures = undefined;
      memory.retryAt = undefined;
    }
    memory.asked = { at: clock(), instance: monitor.instance, what: whatOf(wish) };
    memory.refreshAt = undefined;
    memories.set(reference, memory);
  }

  function isAsked(reference: string, wish: Wish): boolean {
    const { asked, refreshAt } = memories.get(reference) ?? {};
    const renew = wish.secrets?.key ? timing.repeatCredentials : timing.renewPin;
    return (
      asked !== undefined &&
      asked.instance === monitor.instance &&
      asked.what === whatOf(wish) &&
      clock() - asked.at < renew &&
      !(wish.wanted && refreshAt !== undefined && clock() >= refreshAt)
    );
  }

  /** The image as it is after whatever had to be asked for. */
  async function look(reference: string, wish: Wish, signal: AbortSignal): Promise<RegistryImage> {
    const refreshing = memories.get(reference)?.refreshAt !== undefined;
    const due = !isAsked(reference, wish);
    if (due) await ask(reference, wish, signal);
    const image = await registry.image(reference, signal);
    if (image && due && refreshing) afterRefresh.add(reference);
    const age = clock() - (memories.get(reference)?.asked?.at ?? 0);
    if (image === undefined || (image.state === "pending" && age > ASK_AGAIN)) {
      await ask(reference, wish, signal);
      return image ?? { reference, state: "pending" };
    }
    if (image.state !== "failed" || !wish.wanted || !isRetryDue(image)) return image;
    await ask(reference, wish, signal);
    return image;
  }

  /** True when it is time to try a failed image again; the first failure only makes the appointment. */
  function isRetryDue({ reference, reason }: RegistryImage): boolean {
    const memory = memories.get(reference) ?? {};
    memories.set(reference, memory);
    const noSpace = reason === NO_SPACE;
    if (memory.failures?.noSpace !== noSpace) {
      memory.failures = { noSpace, backoff: backoffOf(noSpace) };
      memory.retryAt = undefined;
    }
    const due = memory.retryAt !== undefined && clock() >= memory.retryAt;
    if (due || memory.retryAt === undefined) memory.retryAt = clock() + memory.failures.backoff.next();
    return due;
  }

  function backoffOf(noSpace: boolean): Backoff {
    return noSpace
      ? createBackoff({ initial: timing.retryNoSpaceInitial, max: timing.retryNoSpaceMax })
      : createBackoff({ initial: timing.retryInitial, max: timing.retryMax });
  }

  function lookAgainAfter({ reference, state }: RegistryImage, { wanted }: Wish): number {
    const memory = memories.get(reference);
    stop(reference);
    if (state === "pending" || state === "pulling") {
      const { size } = moving[state].add(reference);
      return Math.max(timing.lookAtMoving, (size / MAX_LOOKS) * 1_000);
    }
    const pause = state === "stale" ? timing.lookAtStale : timing.lookAtReady;
    const spread = pause * (0.8 + Math.random() * 0.4);
    if (state === "failed") return memory?.retryAt === undefined ? spread : Math.max(0, memory.retryAt - clock());
    if (memory) {
      memory.failures = undefined;
      memory.retryAt = undefined;
    }
    if (afterRefresh.delete(reference)) return Math.min(spread, timing.lookAfterRefresh);
    const refreshAt = wanted ? memory?.refreshAt : undefined;
    return refreshAt === undefined ? spread : Math.min(spread, Math.max(0, refreshAt - clock()));
  }

  function stop(reference: string): void {
    moving.pending.delete(reference);
    moving.pulling.delete(reference);
  }

  function known(image: RegistryImage, wish: Wish): Observation {
    const memory = memories.get(image.reference);
    // What the registry says right after it was told to look is still of the time before.
    if (memory && memory.refreshAt === undefined && !afterRefresh.has(image.reference)) {
      const count = memories.size;
      const pause = refreshPause(image, { timing, count, now: Date.now(), random: Math.random() });
      memory.refreshAt = pause === undefined ? undefined : clock() + pause;
    }
    const delay = lookAgainAfter(image, wish);
    const here = image.state === "ready" || image.state === "stale";
    if (memory) memory.seen = here ? { image, until: clock() + delay } : undefined;
    return { kind: "known", image, lookAgainAfter: delay };
  }

  function remembered(reference: string, wish: Wish): Observation | undefined {
    const seen = memories.get(reference)?.seen;
    if (seen === undefined || clock() >= seen.until || !isAsked(reference, wish)) return undefined;
    return { kind: "known", image: seen.image, lookAgainAfter: seen.until - clock() };
  }

  return {
    async observe(reference, wish, signal) {
      if (monitor.instance === undefined) await monitor.refresh(signal);
      const before = remembered(reference, wish);
      if (before) return before;
      try {
        return known({ ...(await look(reference, wish, signal)), reference }, wish);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof RegistryRefusal && isFinal(error.status)) {
          const image = { reference, state: "failed", error: messageOf(error) } as const;
          isRetryDue(image);
          return known(image, wish);
        }
        stop(reference);
        return { kind: "unreachable", lookAgainAfter: timing.lookAtUnreachable * (0.8 + Math.random() * 0.4) };
      }
    },
    forget(reference) {
      memories.delete(reference);
      afterRefresh.delete(reference);
      stop(reference);
    },
    roomMade() {
      const waiting = [...memories].filter(([, { failures }]) => failures?.noSpace);
      for (const [, memory] of waiting) {
        memory.retryAt = Math.min(memory.retryAt ?? Number.POSITIVE_INFINITY, clock() + RETRY_WITH_ROOM);
      }
      return waiting.map(([reference]) => reference);
    },
  };
}

/** About this image, not about our access (401, 403) or the moment (408, 429). */
function isFinal(status: number): boolean {
  return ![401, 403, 408, 429].includes(status);
}

/** All that a change of leads to asking anew. */
function whatOf({ platforms, secrets }: Wish): string {
  return `${(platforms ?? []).join(",")} ${secrets?.key ?? ""}`;
}
