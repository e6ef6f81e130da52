import { randomBytes } from "node:crypto";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Lease, LeaseHolder, LeaseStore } from "@cache-registry/storage/lease-store/lease-store";

/** How long a lease outlives its holder, and how often it is renewed. Milliseconds. */
const TTL_MS = 6_000;
const RENEW_MS = 1_500;

/** The lease that says that a replica lives, and where. */
export const REPLICAS = "replica/";

export type HeldLease = {
  readonly name: string;
  /** Another may have it by now. */
  readonly lost: boolean;
  /** Idempotent; a store that is away is no error, since the lease ends by itself. */
  release(): Promise<void>;
};

export type Acquired = { readonly held: HeldLease } | { readonly other: Lease };

/** What this replica holds, renewed together as long as it lives. */
export type Leases = {
  /** Of this process, new at each start: 12 hexadecimal digits. */
  readonly id: string;
  acquire(name: string): Promise<Acquired>;
  lookup(name: string): Promise<Lease | undefined>;
  list(prefix: string): Promise<Lease[]>;
  /**
   * The store was away for so long that leases ended although their holders live: one that is not there says nothing until
   * they had the time to come back.
   */
  readonly doubtful: boolean;
  start(): Promise<void>;
  /** Gives everything back. */
  stop(): Promise<void>;
};

export type LeasesDeps = {
  readonly store: LeaseStore;
  /** Base URL at which the others reach this replica, null when they cannot. */
  readonly address: string | null;
  readonly logger: Logger;
  /** Milliseconds, shorter for tests. */
  readonly ttl?: number;
  readonly renewEvery?: number;
};

type Own = { readonly lease: Lease; renewedAt: number; lost: boolean };

export function createLeases({ store, address, logger, ttl = TTL_MS, renewEvery = RENEW_MS }: LeasesDeps): Leases {
  const holder: LeaseHolder = { id: randomBytes(6).toString("hex"), address };
  const own = new Map<string, Own>();
  const stopping = new AbortController();
  let membership: HeldLease | undefined;
  let regainedAt = Number.NEGATIVE_INFINITY;
  let loop: Promise<void> = Promise.resolve();

  function isLost(held: Own): boolean {
    // Time that this process spent stopped counts too.
    held.lost ||= performance.now() - held.renewedAt > ttl;
    return held.lost;
  }

  async function acquire(name: string): Promise<Acquired> {
    const asked = performance.now();
    const { granted, lease } = await store.acquire(name, holder, ttl);
    if (!granted) return { other: lease };
    const held: Own = { lease, renewedAt: asked, lost: false };
    own.set(name, held);
    return {
      held: {
        name,
        get lost() {
          return isLost(held);
        },
        async release() {
          if (own.get(name) !== held) return;
          own.delete(name);
          held.lost = true;
          await store.release([lease]).catch(() => undefined);
        },
      },
    };
  }

  async function renew(): Promise<void> {
    const asked = performance.now();
    const renewing = [...own.values()].filter((held) => !isLost(held));
    const still = await store.renew(
      renewing.map(({ lease }) => lease),
      ttl,
    );
    for (const held of renewing) {
      const { name } = held.lease;
      if (still.has(name)) held.renewedAt = asked;
      else if (own.get(name) === held) {
        held.lost = true;
        own.delete(name);
        logger.warn({ lease: name }, "a lease was lost");
      }
    }
  }

  async function join(): Promise<void> {
    if (membership && !membership.lost) return;
    const answer = await acquire(`${REPLICAS}${holder.id}`);
    // Still there from before an outage; it is gone in a moment.
    if (!("held" in answer)) return;
    if (membership) regainedAt = performance.now();
    membership = answer.held;
  }

  async function beat(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await renew();
        await join();
      } catch (err) {
        logger.debug({ err }, "leases could not be renewed");
      }
      await sleep(renewEvery, stopping.signal).catch(() => undefined);
    }
  }

  return {
    id: holder.id,
    acquire,
    lookup: (name) => store.lookup(name),
    list: (prefix) => store.list(prefix),
    get doubtful() {
      return membership?.lost === true || performance.now() - regainedAt < ttl;
    },
    async start() {
      await store.start();
      // A store that is away is no reason not to start: what is held is served without it.
      await join().catch((err: unknown) => logger.warn({ err }, "this replica could not announce itself yet"));
      loop = beat();
    },
    async stop() {
      stopping.abort();
      await loop;
      await store.release([...own.values()].map(({ lease }) => lease)).catch(() => undefined);
      own.clear();
      await store.close();
    },
  };
}
