import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createReclaim } from "../gc/reclaim.ts";
import { digestOf, layerOf, openScene, type Scene } from "./test-scene.ts";

let scene: Scene;

beforeEach(async () => {
  scene = await openScene(1_000);
});
afterEach(() => scene.dispose());

async function cacheAll(names: string, pinned = false): Promise<void> {
  for (const name of names) await scene.cache(name, { pinned });
}
const heldText = async () => (await scene.held()).join("");

describe("an evictor that meets errors", () => {
  it("goes on with others when bytes cannot be removed, and counts only what was freed", async () => {
    await cacheAll("abcde");
    const real = createReclaim({ ...scene.stores, pulls: scene.pulls });
    await scene.pass({
      reclaim: {
        blob: (digest, rules) =>
          digest === layerOf("a") ? Promise.reject(new Error("EIO")) : real.blob(digest, rules),
      },
    });
    expect(await heldText()).toBe("cde");
    expect(scene.gone.map(({ bytes }) => bytes)).toEqual([10, 200]);
  });

  it("makes room although pulls cannot be written down", async () => {
    await cacheAll("abcde");
    await scene.pass({ pulls: { flush: () => Promise.reject(new Error("database or disk is full")) } });
    expect(await heldText()).toBe("bcde");
  });

  it("tells who asked for a relief, and answers the next who asks", async () => {
    await cacheAll("abcde");
    let away = true;
    const { metadata } = scene.stores;
    const evictor = scene.evictor({
      metadata: {
        evictManifest: (...step) => (away ? Promise.reject(new Error("away")) : metadata.evictManifest(...step)),
      },
    });
    await expect(evictor.relieve()).rejects.toThrow("away");
    away = false;
    await evictor.relieve();
    expect(await heldText()).toBe("bcde");
  });

  it("tries again at its next turn", async () => {
    await cacheAll("abcde");
    let calls = 0;
    const evictor = scene.evictor({
      interval: 20,
      excess: (mark) => {
        calls += 1;
        return calls === 1 ? Promise.reject(new Error("the database is away")) : scene.space.excess(mark);
      },
    });
    evictor.start();
    await expect.poll(heldText, { timeout: 10_000 }).toBe("bcde");
    await evictor.stop();
  });
});

describe("an evictor's loop", () => {
  it("rests after a walk that found nothing, and not when a client comes to need room", async () => {
    await cacheAll("pqrst", true);
    let walks = 0;
    let looks = 0;
    const { metadata } = scene.stores;
    const evictor = scene.evictor({
      interval: 20,
      excess: (mark) => {
        looks += 1;
        return scene.space.excess(mark);
      },
      metadata: {
        dueReviews: (...page) => {
          walks += 1;
          return metadata.dueReviews(...page);
        },
      },
    });
    evictor.start();
    await expect.poll(() => walks).toBe(1);
    const before = looks;
    await expect.poll(() => looks, { timeout: 10_000 }).toBeGreaterThan(before + 3);
    expect(walks).toBe(1);
    scene.world.underWay = [{ digest: digestOf("on its way"), size: 1, received: 0, foreground: true }];
    await expect.poll(heldText, { timeout: 4_000 }).toBe("qrst");
    await evictor.stop();
  });

  it("rests no longer when the clock is put back meanwhile", async () => {
    await cacheAll("pqrst", true);
    let walks = 0;
    const { metadata } = scene.stores;
    const evictor = scene.evictor({
      ...{ interval: 20, rest: 200 },
      metadata: {
        dueReviews: (...page) => {
          walks += 1;
          return metadata.dueReviews(...page);
        },
      },
    });
    evictor.start();
    await expect.poll(() => walks).toBeGreaterThan(0);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 3_600_000 });
    const before = walks;
    try {
      await expect.poll(() => walks, { timeout: 4_000 }).toBeGreaterThan(before + 1);
    } finally {
      vi.useRealTimers();
      await evictor.stop();
    }
  });

  it("only looks where another replica evicts", async () => {
    await cacheAll("abcde");
    let looks = 0;
    const evictor = scene.evictor({
      interval: 20,
      leads: () => false,
      excess: (mark) => {
        looks += 1;
        return scene.space.excess(mark);
      },
    });
    evictor.start();
    await expect.poll(() => looks, { timeout: 10_000 }).toBeGreaterThan(1);
    await evictor.stop();
    expect(await heldText()).toBe("abcde");
  });

  it("stops in the middle of a walk", async () => {
    await cacheAll("abcde");
    let steps = 0;
    const evictor = scene.evictor({
      metadata: {
        async evictManifest() {
          steps += 1;
          await setImmediate();
          return { evicted: null, cursor: "on and on" };
        },
      },
    });
    evictor.start();
    await expect.poll(() => steps).toBeGreaterThan(3);
    await evictor.stop();
    const { length } = await scene.held();
    expect(length).toBe(5);
  });
});
