import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createReclaim } from "../gc/reclaim.ts";
import type { FetchUnderWay } from "../pull-through/blob-source.ts";
import { digestOf, layerOf, openScene, type Scene } from "./test-scene.ts";

/** Eviction begins above 950 bytes and ends at 850. */
const QUOTA = 1_000;
let scene: Scene;

beforeEach(async () => {
  scene = await openScene(QUOTA);
});
afterEach(() => scene.dispose());

async function cacheAll(names: string, options: Parameters<Scene["cache"]>[1] = {}): Promise<void> {
  for (const name of names) await scene.cache(name, options);
}

function fetching(changes: Partial<FetchUnderWay> = {}): FetchUnderWay {
  return { digest: digestOf("on its way"), size: 100, received: 0, foreground: true, ...changes };
}

const used = async () => (await scene.stores.metadata.usage()).cachedBytes;
const heldText = async () => (await scene.held()).join("");

describe("an evictor's turn", () => {
  it("begins above the high mark, and not at it", async () => {
    await cacheAll("abcd");
    await scene.cache("e", { size: 150 });
    await scene.pass();
    expect(await heldText()).toBe("abcde");
    await scene.cache("f", { size: 11 });
    await scene.pass();
    expect(await heldText()).toBe("bcdef");
  });

  it("takes the least recently used, their bytes too, down to the low mark", async () => {
    await cacheAll("abcdefg");
    scene.pulled("b");
    await scene.pass();
    expect(await heldText()).toBe("befg");
    expect(await used()).toBe(800);
    expect(scene.gone).toEqual(Array.from({ length: 3 }, () => ({ reason: "quota", pinned: false, bytes: 200 })));
    expect(await scene.stores.metadata.blob(layerOf("a"))).toBeUndefined();
    expect(await scene.stores.metadata.blob(layerOf("b"))).toBeDefined();
  });

  it("counts what is on its way to clients like what is there, and not what warm-ups fetch", async () => {
    await cacheAll("abcd");
    scene.world.underWay = [fetching({ size: 200, foreground: false })];
    await scene.pass();
    expect(await heldText()).toBe("abcd");
    scene.world.underWay = [fetching({ size: 200 })];
    await scene.pass();
    expect(await heldText()).toBe("bcd");
  });

  it("leaves alone what was used in the last 10 seconds, although that is not written down yet", async () => {
    const now = Date.now();
    await scene.cache("a", { size: 400, usedAt: now - 5_000 });
    await scene.cache("b", { size: 400, usedAt: now - 60_000 });
    await scene.cache("c", { size: 400, usedAt: now - 50_000 });
    scene.pulled("b");
    // Who removes bytes writes pulls down too: that would be too late.
    await scene.pass({ reclaim: createReclaim({ ...scene.stores, pulls: { flush: async () => {} } }) });
    expect(await heldText()).toBe("ab");
    await scene.cache("d", { size: 400, usedAt: now - 5_000 });
    await scene.pass();
    expect(await heldText()).toBe("abd");
  });

  it("leaves alone what is being fetched", async () => {
    await cacheAll("abcde");
    scene.world.underWay = [fetching({ digest: layerOf("a"), foreground: false })];
    await scene.pass();
    expect(await heldText()).toBe("acde");
  });

  it("takes blobs without a manifest first, but for those of a moment ago", async () => {
    await cacheAll("abcd");
    await scene.link("loose", 200, Date.now() - 60_000);
    await scene.pass();
    expect([await heldText(), scene.loose()]).toEqual(["abcd", 200]);
    await scene.link("just came", 200);
    await scene.pass();
    expect([await heldText(), scene.loose()]).toEqual(["bcd", 200]);
  });

  it("frees three reserves of a disk that is full although its volume has room", async () => {
    await scene.dispose();
    scene = await openScene(1e9);
    Object.assign(scene.world, {
      full: true,
      disk: { total: 1e9, free: 9e8, full: true, reserved: 0, reserve: 100 },
    });
    await cacheAll("abcd");
    await scene.pass();
    expect(await heldText()).toBe("cd");
    expect(scene.gone).toEqual(Array.from({ length: 2 }, () => ({ reason: "disk", pinned: false, bytes: 200 })));
    await scene.link("loose", 200, Date.now() - 60_000);
    await scene.pass();
    expect(await heldText()).toBe("d");
    scene.world.full = false;
    await scene.pass();
    expect(await heldText()).toBe("d");
  });
});

describe("pinned content", () => {
  it("outlives what is used more often and not pinned", async () => {
    await cacheAll("p", { size: 300, pinned: true });
    await cacheAll("abc", { size: 300 });
    await scene.pass();
    expect(await heldText()).toBe("pc");
  });

  it.each([
    ["nobody", []],
    ["a warm-up", [fetching({ foreground: false })]],
  ])("stays when %s asks for its room, whatever the mark", async (_, underWay) => {
    await cacheAll("pqrstuvwxy", { size: 100, pinned: true });
    await cacheAll("a", { size: 100 });
    scene.world.underWay = underWay;
    await scene.pass();
    expect(await heldText()).toBe("pqrstuvwxy");
  });

  it("goes for a client's pull, after the rest, the least recently used first, and only down to the high mark", async () => {
    await cacheAll("pqrstuvwx", { size: 100, pinned: true });
    await cacheAll("a", { size: 100 });
    scene.pulled("p");
    scene.world.underWay = [fetching()];
    await scene.pass();
    expect(await heldText()).toBe("prstuvwx");
    expect(scene.gone.map(({ pinned }) => pinned)).toEqual([false, true]);
  });

  it("stays for a client whose pull has room without it", async () => {
    await cacheAll("pqrstuvw", { size: 100, pinned: true });
    await cacheAll("a", { size: 100 });
    scene.world.underWay = [fetching()];
    await scene.pass();
    // Above the low mark, but below the high one.
    expect(await heldText()).toBe("pqrstuvw");
  });
});

describe("a relief", () => {
  it("ends at the high mark, not at the low one", async () => {
    await cacheAll("abcdefghijklmnopqrstuvwxy", { size: 40 });
    await scene.evictor().relieve();
    expect(await heldText()).toBe("cdefghijklmnopqrstuvwxy");
    expect(await used()).toBe(920);
  });

  it("ends when only what is pinned is left, also while a client waits", async () => {
    await cacheAll("p", { size: 900, pinned: true });
    await scene.cache("a");
    scene.world.underWay = [fetching()];
    await scene.evictor().relieve();
    expect(await heldText()).toBe("p");
    expect((await scene.space.excess("high")).bytes).toBe(50);
  });

  it("lets a warm-up in when that makes room, and takes nothing that is pinned for it", async () => {
    await cacheAll("p", { size: 500, pinned: true });
    await cacheAll("ab");
    await scene.space.admit(200);
    expect(await heldText()).toBe("pb");
    await expect(scene.space.admit(300)).rejects.toThrow("no space");
    expect(await heldText()).toBe("p");
  });
});
