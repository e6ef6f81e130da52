import { messageOf } from "@cache-registry/core/errors";
import { type Backoff, createBackoff } from "@cache-registry/runtime/backoff";
import { type ManagementClient, type RegistryImage, RegistryRefusal } from "../registry/management-client.ts";
import type { RegistryMonitor } from "../registry/registry-monitor.ts";
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
};

/** Keeps images warm in the registry. What it remembers is only when to ask again: the truth is the registry's store. */
export interface Prewarm {
  /** Asks for the image if need be, and looks how far it is. Rejects only with the signal's reason. */
  observe(reference: string, wish: Wish, signal: AbortSignal): Promise<Observation>;
  /** The registry has dropped the image: ask for it anew. */
  forget(reference: string): void;
}

/** Milliseconds. */
export type PrewarmTiming = {
  /** Pins are leases of 7 days. */
  readonly renewPin: number;
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
/** Pending for so long although asked for: whatever was asked is forgotten there. */
const ASK_AGAIN = 10_000;

type Memory = {
  /** When and of which running registry, with which platforms, the image was asked for. */
  asked?: { readonly at: number; readonly instance: string | undefined; readonly platforms: string };
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
  const moving = { pending: new Set<string>(), pulling: new Set<string>() };

  async function ask(reference: string, { platforms }: Wish, signal: AbortSignal): Promise<void> {
    await registry.warmUp(reference, { owner, platforms }, signal);
    const memory = memories.get(reference) ?? {};
    if (memory.asked?.instance !== monitor.instance) {
      // What failed there has no bearing on what a registry that was started anew can fetch.
      memory.failures = undefined;
      memory.retryAt = undefined;
    }
    memory.asked = { at: clock(), instance: monitor.instance, platforms: platformKey(platforms) };
    memories.set(reference, memory);
  }

  function isAsked(reference: string, wish: Wish): boolean {
    const asked = memories.get(reference)?.asked;
    return (
      asked !== undefined &&
      asked.instance === monitor.instance &&
      asked.platforms === platformKey(wish.platforms) &&
      clock() - asked.at < timing.renewPin
    );
  }

  /** The image as it is after whatever had to be asked for. */
  async function look(reference: string, wish: Wish, signal: AbortSignal): Promise<RegistryImage> {
    if (!isAsked(reference, wish)) await ask(reference, wish, signal);
    const image = await registry.image(reference, signal);
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

  function lookAgainAfter({ reference, state }: RegistryImage): number {
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
    return spread;
  }

  function stop(reference: string): void {
    moving.pending.delete(reference);
    moving.pulling.delete(reference);
  }

  function known(image: RegistryImage): Observation {
    const delay = lookAgainAfter(image);
    const memory = memories.get(image.reference);
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
        return known({ ...(await look(reference, wish, signal)), reference });
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof RegistryRefusal && isFinal(error.status)) {
          const image = { reference, state: "failed", error: messageOf(error) } as const;
          isRetryDue(image);
          return known(image);
        }
        stop(reference);
        return { kind: "unreachable", lookAgainAfter: timing.lookAtUnreachable * (0.8 + Math.random() * 0.4) };
      }
    },
    forget(reference) {
      memories.delete(reference);
      stop(reference);
    },
  };
}

/** About this image, not about our access (401, 403) or the moment (408, 429). */
function isFinal(status: number): boolean {
  return ![401, 403, 408, 429].includes(status);
}

function platformKey(platforms: readonly string[] | undefined): string {
  return (platforms ?? []).join(",");
}
