/** Milliseconds, except where it says otherwise. */
export type HealthRules = {
  /** The cache is unhealthy when the registry has not been ready for so long. */
  readonly registryUnready: number;
  /** Percent of the nodes whose proxy may be missing; one may always. */
  readonly proxiesUnready: number;
  /** It is healthy again when nothing has been wrong for so long. */
  readonly recovered: number;
};

export type Proxies = {
  /** Ready nodes on which a proxy should run. */
  readonly targeted: number;
  /** Names of those on which none is ready, as far as they are known. */
  readonly unready: readonly string[];
  /** Proxies that should exist and do not. */
  readonly missing: number;
};

export type Observation = {
  /** Why the registry is not ready, if so. */
  readonly registry: string | undefined;
  /** Undefined: nobody asked for a look at them. */
  readonly proxies: Proxies | undefined;
};

export type Verdict = {
  readonly healthy: boolean;
  /** A sentence each; as they were when the verdict was reached, so that they do not change all the time. */
  readonly reasons: readonly string[];
};

export interface ClusterHealth {
  /** The verdict after this look; undefined while nothing can be said yet. A new object only on a transition. */
  observe(observation: Observation, now: number): Verdict | undefined;
}

type Cause = "registry" | "proxies";

/** Proxies of new nodes need a moment; a pod that is rewritten meanwhile waits for as long as its node does. */
const PROXIES_UNREADY_FOR = 10_000;
const NAMED = 5;

/**
 * Healthy or not, with hysteresis: what is wrong must last before it counts, and must be over for longer before it no
 * longer does, since each change makes every pod of the cluster start differently. `initial`: the verdict of the leader
 * before, which stands until there is a reason to change it.
 */
export function createClusterHealth(rules: HealthRules, initial?: Verdict): ClusterHealth {
  const since = new Map<Cause, number>();
  let verdict = initial;
  let causes: string | undefined;
  let fineSince: number | undefined;

  function lasting(problems: Readonly<Record<Cause, string | undefined>>, now: number): Cause[] {
    const needed = { registry: rules.registryUnready, proxies: PROXIES_UNREADY_FOR };
    return (["registry", "proxies"] as const).filter((cause) => {
      if (problems[cause] === undefined) since.delete(cause);
      else if (!since.has(cause)) since.set(cause, now);
      return now - (since.get(cause) ?? Number.POSITIVE_INFINITY) >= needed[cause];
    });
  }

  return {
    observe({ registry, proxies }, now) {
      const problems = { registry: registryProblem(registry, rules), proxies: proxiesProblem(proxies, rules) };
      const standing = lasting(problems, now);
      const fine = problems.registry === undefined && problems.proxies === undefined;
      fineSince = fine ? (fineSince ?? now) : undefined;
      if (standing.length > 0 && (verdict?.healthy !== false || causes !== standing.join())) {
        causes = standing.join();
        verdict = { healthy: false, reasons: standing.flatMap((cause) => problems[cause] ?? []) };
      }
      // The first verdict of all needs no patience: nothing has been decided that it could contradict.
      const calm = fineSince !== undefined && now - fineSince >= (verdict === undefined ? 0 : rules.recovered);
      if (calm && !verdict?.healthy) {
        causes = undefined;
        verdict = { healthy: true, reasons: [] };
      }
      return verdict;
    },
  };
}

function registryProblem(why: string | undefined, { registryUnready }: HealthRules): string | undefined {
  return why && `The registry has not been ready for ${Math.round(registryUnready / 1_000)} s: ${why}`;
}

function proxiesProblem(proxies: Proxies | undefined, { proxiesUnready }: HealthRules): string | undefined {
  if (!proxies) return undefined;
  const { targeted, unready, missing } = proxies;
  const count = unready.length + missing;
  if (count <= 1 || count <= (targeted * proxiesUnready) / 100) return undefined;
  const named = unready.slice(0, NAMED).join(", ");
  const more = named === "" ? "" : `: ${named}${count > Math.min(NAMED, unready.length) ? ", …" : ""}`;
  return `The proxies of ${count} of ${targeted} nodes are not ready${more}`;
}
