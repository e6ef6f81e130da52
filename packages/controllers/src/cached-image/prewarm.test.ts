import { describe, expect, it } from "vitest";
import { type RegistryImage, RegistryRefusal } from "../registry/management-client.ts";
import { createPrewarm, PREWARM_TIMING, type Wish } from "./prewarm.ts";

type State = RegistryImage["state"];

function setup() {
  const world = {
    now: 0,
    looks: 0,
    instance: "1",
    state: "ready" as State | undefined,
    reason: undefined as string | undefined,
    error: undefined as Error | undefined,
    /** Milliseconds for which the registry takes a tag for fresh; undefined: a digest. */
    freshFor: undefined as number | undefined,
  };
  const credentials: unknown[] = [];
  const asked: (readonly string[] | undefined)[] = [];
  const signal = new AbortController().signal;
  const prewarm = createPrewarm({
    registry: {
      async warmUp(_reference, { platforms, owner, credentials: handed }) {
        if (world.error) throw world.error;
        expect(owner).toBe("me");
        asked.push(platforms);
        credentials.push(handed);
      },
      async image(reference) {
        world.looks += 1;
        if (world.error) throw world.error;
        const freshUntil = world.freshFor === undefined ? null : new Date(Date.now() + world.freshFor).toISOString();
        return world.state && { reference, state: world.state, reason: world.reason, freshUntil };
      },
    },
    monitor: {
      get instance() {
        return world.instance;
      },
      refresh: async () => {},
    },
    owner: "me",
    clock: () => world.now,
    timing: PREWARM_TIMING,
  });
  const look = (wish: Partial<Wish> = {}) =>
    prewarm.observe("r", { platforms: undefined, wanted: true, ...wish }, signal);
  return { world, asked, credentials, prewarm, look };
}

describe("createPrewarm", () => {
  it("asks once, and then only looks", async () => {
    const { world, asked, look } = setup();
    for (let turn = 0; turn < 5; turn += 1) {
      await look();
      world.now += 400_000;
    }
    expect(asked).toHaveLength(1);
    expect(world.looks).toBe(5);
  });

  it("does not look for each pod of a rollout", async () => {
    const { world, look } = setup();
    for (let turn = 0; turn < 100; turn += 1) {
      world.now += 1_000;
      expect((await look()).lookAgainAfter).toBeLessThanOrEqual(360_000 - turn * 1_000);
    }
    expect(world.looks).toBe(1);
  });

  it("renews the pin long before its lease of 7 days ends", async () => {
    const { world, asked, look } = setup();
    for (let day = 0; day < 14; day += 1) {
      world.now = day * 86_400_000;
      await look();
    }
    expect(asked).toHaveLength(14);
  });

  it("asks again when the registry was restarted, was emptied, or when other platforms are wanted", async () => {
    const { world, asked, look } = setup();
    await look();
    world.instance = "2";
    await look();
    expect(asked).toHaveLength(2);
    world.state = undefined;
    world.now += 400_000;
    expect(await look()).toMatchObject({ kind: "known", image: { state: "pending" } });
    expect(asked).toHaveLength(3);
    world.state = "ready";
    await look({ platforms: ["linux/arm64"] });
    expect(asked.at(-1)).toEqual(["linux/arm64"]);
  });

  it("asks again for what stays pending, but not while it is being pulled", async () => {
    const { world, asked, look } = setup();
    world.state = "pulling";
    await look();
    world.now = 3_600_000;
    await look();
    expect(asked).toHaveLength(1);
    world.state = "pending";
    await look();
    expect(asked).toHaveLength(2);
    world.now += 5_000;
    await look();
    expect(asked).toHaveLength(2);
  });

  it("tries failures again with growing pauses, only while somebody waits", async () => {
    const { world, asked, look } = setup();
    world.state = "failed";
    const times: number[] = [];
    for (; world.now < 3_600_000; world.now += 1_000) {
      const before = asked.length;
      await look();
      if (asked.length > before) times.push(world.now);
    }
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(pauses.length).toBeGreaterThan(4);
    expect(pauses[0]).toBeLessThanOrEqual(PREWARM_TIMING.retryInitial + 1_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(PREWARM_TIMING.retryMax + 1_000);
    expect(pauses.at(-1)).toBeGreaterThan((pauses[0] ?? 0) * 4);
    const count = asked.length;
    world.now += PREWARM_TIMING.retryMax;
    await look({ wanted: false });
    expect(asked).toHaveLength(count);
  });

  it("waits longer for room than for an upstream: each try evicts what others pull", async () => {
    const { world, asked, look } = setup();
    Object.assign(world, { state: "failed", reason: "NoSpace" });
    const first = await look();
    expect(first.lookAgainAfter).toBeGreaterThanOrEqual(0.8 * PREWARM_TIMING.retryNoSpaceInitial);
    expect(first.lookAgainAfter).toBeLessThanOrEqual(PREWARM_TIMING.retryNoSpaceInitial);
    expect(PREWARM_TIMING.retryNoSpaceInitial).toBeGreaterThan(2 * PREWARM_TIMING.retryInitial);
    const times: number[] = [];
    for (; world.now < 7_200_000; world.now += 1_000) {
      const before = asked.length;
      await look();
      if (asked.length > before) times.push(world.now);
    }
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(Math.max(...pauses)).toBeGreaterThan(PREWARM_TIMING.retryMax);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(PREWARM_TIMING.retryNoSpaceMax + 1_000);
  });

  it("begins with the pauses of the new kind when a warm-up fails for another reason", async () => {
    const { world, asked, look } = setup();
    world.state = "failed";
    await look();
    world.reason = "NoSpace";
    expect((await look()).lookAgainAfter).toBeGreaterThan(PREWARM_TIMING.retryInitial);
    world.now += PREWARM_TIMING.retryInitial;
    await look();
    expect(asked).toHaveLength(1);
    world.reason = undefined;
    expect((await look()).lookAgainAfter).toBeLessThanOrEqual(PREWARM_TIMING.retryInitial);
  });

  it("begins with short pauses again when the registry was restarted", async () => {
    const { world, asked, look } = setup();
    world.state = "failed";
    for (; world.now < 3_600_000; world.now += 1_000) await look();
    world.instance = "2";
    await look();
    const count = asked.length;
    world.now += PREWARM_TIMING.retryInitial;
    await look();
    expect(asked).toHaveLength(count + 1);
  });

  it("takes a refusal about the image for a failure with its reason, and one about access for being away", async () => {
    const { world, look } = setup();
    world.error = new RegistryRefusal(404, "upstreamPolicy does not allow ghcr.io");
    expect(await look()).toMatchObject({
      kind: "known",
      image: { state: "failed", error: "upstreamPolicy does not allow ghcr.io" },
    });
    world.error = new RegistryRefusal(401, "authentication required");
    expect((await look()).kind).toBe("unreachable");
    world.error = new Error("ECONNREFUSED");
    expect((await look()).kind).toBe("unreachable");
  });

  it("looks seldom at what is ready, soon at what moves", async () => {
    const { world, look } = setup();
    expect((await look()).lookAgainAfter).toBeGreaterThan(200_000);
    world.state = "pulling";
    world.now += 400_000;
    expect((await look()).lookAgainAfter).toBe(1_000);
  });

  it("asks anew for what was released", async () => {
    const { asked, prewarm, look } = setup();
    await look();
    prewarm.forget("r");
    await look();
    expect(asked).toHaveLength(2);
  });

  it("tries what did not fit again soon after something was unpinned", async () => {
    const { world, asked, prewarm, look } = setup();
    Object.assign(world, { state: "failed", reason: "NoSpace" });
    await look();
    expect(prewarm.roomMade()).toEqual(["r"]);
    expect((await look()).lookAgainAfter).toBeLessThanOrEqual(5_000);
    world.now += 5_000;
    await look();
    expect(asked).toHaveLength(2);
    Object.assign(world, { state: "ready", reason: undefined });
    await look();
    expect(prewarm.roomMade()).toEqual([]);
  });
});

/** Times at which the registry was asked, in the course of some hours. */
async function timesAsked(
  { world, asked, look }: ReturnType<typeof setup>,
  { hours, wish }: { hours: number; wish?: Partial<Wish> },
): Promise<number[]> {
  const times: number[] = [];
  while (world.now < hours * 3_600_000) {
    const before = asked.length;
    const { lookAgainAfter } = await look(wish);
    if (asked.length > before) times.push(world.now);
    world.now += Math.max(1_000, lookAgainAfter);
  }
  return times;
}

describe("refreshing tags", () => {
  it("asks the registry to look whether a tag moved, not before its time is over, and looks soon after", async () => {
    const bench = setup();
    bench.world.freshFor = 1_800_000;
    const times = await timesAsked(bench, { hours: 10 });
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    // 30 minutes, spread by 30 %, and a look that comes at most as late as any.
    expect(times.length).toBeGreaterThan(12);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_800_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1_800_000 * 1.3 + 10_000);
    bench.world.now += 1_800_000 * 1.4;
    expect((await bench.look()).lookAgainAfter).toBeLessThanOrEqual(5_000);
  });

  it("is not done more often than every 10 minutes, stale tags 5, whatever tagTtl is", async () => {
    const bench = setup();
    bench.world.freshFor = 0;
    expect((await timesAsked(bench, { hours: 10 })).length).toBeLessThanOrEqual(61);
    const stale = setup();
    Object.assign(stale.world, { freshFor: 0, state: "stale" });
    const count = (await timesAsked(stale, { hours: 10 })).length;
    expect(count).toBeGreaterThan(70);
    expect(count).toBeLessThanOrEqual(121);
  });

  it("is not done for digests, frozen tags and images that nobody uses", async () => {
    expect(await timesAsked(setup(), { hours: 10 })).toHaveLength(1);
    const bench = setup();
    bench.world.freshFor = 600_000;
    expect(await timesAsked(bench, { hours: 10, wish: { wanted: false } })).toHaveLength(1);
  });
});

describe("credentials", () => {
  const robot = { username: "robot", password: "hunter2" };

  it("are repeated every 10 minutes, at once after a restart, and at once when other Secrets are named", async () => {
    const { world, credentials, look } = setup();
    const secrets = { key: "shop/pull", read: async () => [robot] };
    await look({ secrets });
    await look({ secrets });
    expect(credentials).toEqual([[robot]]);
    world.now += 600_000;
    await look({ secrets });
    expect(credentials).toHaveLength(2);
    world.instance = "2";
    await look({ secrets });
    expect(credentials).toHaveLength(3);
    await look({ secrets: { ...secrets, key: "shop/pull,shop/other" } });
    expect(credentials).toHaveLength(4);
    await look({ secrets: { key: "", read: async () => [] } });
    expect(credentials.at(-1)).toEqual([]);
  });
});
