import { messageOf } from "@cache-registry/core/errors";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { isConflict, isNotFound } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import type { OwnerReference } from "./object.ts";
import { LEASES } from "./resource.ts";
import type { Lease } from "./workloads.ts";

export type LeaderElectionOptions = {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique per process: the pod's name. */
  readonly identity: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly timing?: Partial<LeaseTiming>;
  /** With whom the lease goes when it is deleted. */
  readonly owner?: () => Promise<OwnerReference[] | undefined>;
};

/** Milliseconds. `retryPeriod` < `renewDeadline` < `leaseDuration`, so that a leader stops before another can begin. */
export type LeaseTiming = {
  readonly leaseDuration: number;
  readonly renewDeadline: number;
  readonly retryPeriod: number;
};

export interface LeaderElection {
  /**
   * Waits for the lease and then leads, again and again until the signal. The signal given to `lead` ends with the term;
   * nobody else can hold the lease before `renewDeadline` has passed and `lead` was told to stop.
   */
  run(lead: (term: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
  readonly leading: boolean;
  /** Why the lease cannot be asked for, if so. */
  problem(): string | undefined;
}

const DEFAULT_TIMING: LeaseTiming = { leaseDuration: 15_000, renewDeadline: 10_000, retryPeriod: 2_000 };

/** One leader among the replicas, by a Lease. https://kubernetes.io/docs/concepts/architecture/leases/#leader-election */
export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { client, namespace, name, identity, logger } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const at = { namespace, name };
  const isLeader = options.metrics.gauge({ name: "leader", help: "1 while this replica holds the lease." });
  /** The lease as last seen, and when by our clock: clocks of other machines are not compared with ours. */
  let seen: { readonly mark: string; readonly at: number } | undefined;
  let leading = false;
  let failure: string | undefined;

  /** Takes or renews the lease. False: another holds it. @throws ApiError, network errors */
  async function hold(signal: AbortSignal): Promise<boolean> {
    const call = { signal, timeout: timing.renewDeadline / 2 };
    let current: Lease;
    try {
      current = await client.get(LEASES, at, call);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const transitions = { acquireTime: microTime(), leaseTransitions: 0 };
      await client.create(LEASES, await owned(leaseOf({ metadata: at }, transitions)), call);
      return true;
    }
    const holder = current.spec?.holderIdentity ?? "";
    if (holder === identity) {
      await client.update(LEASES, leaseOf(current, {}), call);
      return true;
    }
    if (holder !== "" && !hasExpired(current)) return false;
    const leaseTransitions = (current.spec?.leaseTransitions ?? 0) + 1;
    await client.update(LEASES, await owned(leaseOf(current, { acquireTime: microTime(), leaseTransitions })), call);
    return true;
  }

  async function owned(lease: Lease): Promise<Lease> {
    const ownerReferences = lease.metadata.ownerReferences ?? (await options.owner?.());
    return ownerReferences ? { ...lease, metadata: { ...lease.metadata, ownerReferences } } : lease;
  }

  function hasExpired(lease: Lease): boolean {
    const mark = `${lease.metadata.resourceVersion}`;
    if (seen?.mark !== mark) seen = { mark, at: performance.now() };
    const duration = (lease.spec?.leaseDurationSeconds ?? timing.leaseDuration / 1_000) * 1_000;
    return performance.now() - seen.at > duration;
  }

  function leaseOf(current: Lease, spec: NonNullable<Lease["spec"]>): Lease {
    const leaseDurationSeconds = Math.ceil(timing.leaseDuration / 1_000);
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: current.metadata,
      spec: { ...current.spec, ...spec, holderIdentity: identity, leaseDurationSeconds, renewTime: microTime() },
    };
  }

  /** `unknown`: a lost race, or the API server cannot be asked. */
  async function tryHold(signal: AbortSignal): Promise<"held" | "taken" | "unknown"> {
    try {
      const held = await hold(signal);
      failure = undefined;
      return held ? "held" : "taken";
    } catch (error) {
      if (!signal.aborted && !isConflict(error)) {
        failure = messageOf(error);
        logger.warn({ err: error }, "lease not reachable");
      }
      return "unknown";
    }
  }

  async function acquire(signal: AbortSignal): Promise<void> {
    while ((await tryHold(signal)) !== "held") await sleep(timing.retryPeriod * (0.8 + Math.random() * 0.4), signal);
  }

  /** Until the signal. Calls `lost` when the lease is another's, or could not be renewed for `renewDeadline`. */
  async function renew(signal: AbortSignal, lost: () => void): Promise<void> {
    let deadline = setTimeout(lost, timing.renewDeadline);
    try {
      for (;;) {
        await sleep(timing.retryPeriod, signal);
        const outcome = await tryHold(signal);
        if (outcome === "unknown") continue;
        clearTimeout(deadline);
        if (outcome === "taken") return lost();
        deadline = setTimeout(lost, timing.renewDeadline);
      }
    } catch {
      // The signal: the term is over.
    } finally {
      clearTimeout(deadline);
    }
  }

  /** So that the next leader need not wait for the lease to run out. */
  async function release(): Promise<void> {
    try {
      const current = await client.get(LEASES, at, { timeout: 3_000 });
      if (current.spec?.holderIdentity !== identity) return;
      const spec = { ...current.spec, holderIdentity: "", leaseDurationSeconds: 1, renewTime: microTime() };
      await client.update(LEASES, { ...current, spec }, { timeout: 3_000 });
    } catch (error) {
      logger.info({ err: error }, "lease not released");
    }
  }

  async function term(lead: (term: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const termSignal = AbortSignal.any([signal, over.signal]);
    const renewing = renew(termSignal, () => over.abort(new Error("the lease was not renewed in time")));
    leading = true;
    isLeader.set(1);
    logger.info({ lease: name, identity }, "leading");
    try {
      await lead(termSignal);
    } finally {
      leading = false;
      isLeader.set(0);
      over.abort(new Error("the term has ended"));
      await renewing;
      logger.info({ lease: name, identity }, "no longer leading");
      await release();
    }
  }

  return {
    get leading() {
      return leading;
    },
    problem: () => failure,
    async run(lead, signal) {
      isLeader.set(0);
      while (!signal.aborted) {
        try {
          await acquire(signal);
        } catch {
          return; // the signal: acquire has no other reason to end without the lease
        }
        await term(lead, signal);
      }
    },
  };
}

/** RFC 3339 with microseconds, as Lease wants it. */
function microTime(): string {
  return new Date().toISOString().replace("Z", "000Z");
}
