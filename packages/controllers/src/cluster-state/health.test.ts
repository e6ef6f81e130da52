import { describe, expect, it } from "vitest";
import { createClusterHealth, type Observation, type Verdict } from "./health.ts";

const RULES = { registryUnready: 60_000, proxiesUnready: 10, recovered: 30_000 };
const FINE: Observation = { registry: undefined, proxies: undefined };
const REGISTRY_DOWN: Observation = { registry: "connection refused", proxies: undefined };
const proxies = (targeted: number, unready: number, missing = 0): Observation => ({
  registry: undefined,
  proxies: { targeted, unready: Array.from({ length: unready }, (_, index) => `n${index}`), missing },
});

/** Looks every five seconds, as the controllers do. */
function watch(initial?: Verdict, rules = RULES) {
  const health = createClusterHealth(rules, initial);
  let now = 0;
  let verdict = initial;
  return (observation: Observation, milliseconds: number): boolean | undefined => {
    for (const until = now + milliseconds; now < until; now += 5_000) verdict = health.observe(observation, now);
    return verdict?.healthy;
  };
}

describe("the first verdict", () => {
  it("is healthy as soon as everything is ready, unhealthy only after the time that is allowed", () => {
    expect(watch()(FINE, 5_000)).toBe(true);
    const look = watch();
    expect(look(REGISTRY_DOWN, 60_000)).toBeUndefined();
    expect(look(REGISTRY_DOWN, 5_000)).toBe(false);
    const starting = watch();
    expect(starting(REGISTRY_DOWN, 30_000)).toBeUndefined();
    expect(starting(FINE, 5_000)).toBe(true);
  });

  it("is that of the leader before, until there is a reason to change it", () => {
    const look = watch({ healthy: false, reasons: ["before"] });
    expect(look(FINE, 30_000)).toBe(false);
    expect(look(FINE, 5_000)).toBe(true);
    expect(watch({ healthy: true, reasons: [] })(REGISTRY_DOWN, 60_000)).toBe(true);
  });
});

describe("the registry", () => {
  it("may be away for less than the time that is allowed, again and again", () => {
    const look = watch();
    look(FINE, 5_000);
    for (let round = 0; round < 5; round += 1) {
      expect(look(REGISTRY_DOWN, 60_000)).toBe(true);
      expect(look(FINE, 5_000)).toBe(true);
    }
    expect(look(REGISTRY_DOWN, 65_000)).toBe(false);
  });

  it("must be back for a while, without interruption", () => {
    const look = watch();
    look(REGISTRY_DOWN, 65_000);
    expect(look(FINE, 25_000)).toBe(false);
    expect(look(REGISTRY_DOWN, 5_000)).toBe(false);
    expect(look(FINE, 30_000)).toBe(false);
    expect(look(FINE, 5_000)).toBe(true);
  });

  it("follows health.registryUnready", () => {
    expect(watch(undefined, { ...RULES, registryUnready: 0 })(REGISTRY_DOWN, 5_000)).toBe(false);
  });
});

describe("the proxies", () => {
  it.each([
    [10, 1, true],
    [1, 1, true],
    [2, 2, false],
    [10, 2, false],
    [20, 2, true],
    [20, 3, false],
    [100, 10, true],
    [100, 11, false],
    [0, 0, true],
  ])("of %d nodes, %d not ready: %s", (targeted, unready, healthy) => {
    const look = watch();
    look(FINE, 5_000);
    expect(look(proxies(targeted, unready), 15_000)).toBe(healthy);
  });

  it("count when they do not exist at all", () => {
    const look = watch();
    look(FINE, 5_000);
    expect(look(proxies(10, 1, 1), 15_000)).toBe(false);
  });

  it("may be away for a moment, as those of new nodes are", () => {
    const look = watch();
    look(FINE, 5_000);
    expect(look(proxies(10, 5), 10_000)).toBe(true);
    expect(look(FINE, 5_000)).toBe(true);
  });
});

describe("reasons", () => {
  it("say what is wrong and stay the same until it is something else", () => {
    const health = createClusterHealth(RULES);
    const observe = (observation: Observation, at: number) => health.observe(observation, at);
    observe(proxies(40, 6, 2), 0);
    const verdict = observe(proxies(40, 6, 2), 10_000);
    expect(verdict?.reasons).toEqual(["The proxies of 8 of 40 nodes are not ready: n0, n1, n2, n3, n4, …"]);
    expect(observe(proxies(40, 7), 15_000)).toBe(verdict);
    const both = { ...proxies(40, 7), registry: "connection refused" };
    expect(observe(both, 20_000)).toBe(verdict);
    expect(observe(both, 80_000)?.reasons).toEqual([
      "The registry has not been ready for 60 s: connection refused",
      "The proxies of 7 of 40 nodes are not ready: n0, n1, n2, n3, n4, …",
    ]);
  });
});
