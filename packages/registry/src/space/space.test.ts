import { digestOf } from "@cache-registry/core/digest";
import { isCodedError } from "@cache-registry/core/errors";
import type { BlobRecord } from "@cache-registry/storage/metadata-store/metadata-store";
import { describe, expect, it } from "vitest";
import type { FetchUnderWay } from "../pull-through/blob-source.ts";
import type { DiskState } from "./disk.ts";
import { createSpace, NoSpaceError } from "./space.ts";

const DIGEST = digestOf("sha256", "a".repeat(64));
const OTHER = digestOf("sha256", "b".repeat(64));

/** Numbers instead of a store: what eviction does is in evictor.test.ts. */
function setup({ maxSize, disk }: { maxSize?: number; disk?: DiskState } = {}) {
  const world = {
    stored: 0,
    held: new Set<string>(),
    underWay: [] as FetchUnderWay[],
    reliefs: 0,
    error: undefined as Error | undefined,
    /** What a relief makes free. */
    relief: () => {},
  };
  const space = createSpace({
    metadata: {
      async usage() {
        if (world.error) throw world.error;
        return { blobs: 0, bytes: 0, cachedBytes: world.stored, manifests: 0, repositories: 0 };
      },
      blob: async (digest) => (world.held.has(digest) ? ({ digest, size: 1, generation: 1 } as BlobRecord) : undefined),
    },
    disk: { state: disk, look: async () => disk },
    maxSize,
    underWay: () => world.underWay,
    async relieve() {
      world.reliefs += 1;
      world.relief();
    },
  });
  return { world, space };
}

function fetching(changes: Partial<FetchUnderWay>): FetchUnderWay {
  return { digest: DIGEST, size: 100, received: 40, foreground: true, ...changes };
}

const volume: DiskState = { total: 1_001, free: 500, full: false, reserved: 10, reserve: 10 };

describe("quota", () => {
  it("is what was said, else 85 % of the volume, else nothing", () => {
    expect(setup({ maxSize: 500, disk: volume }).space.quota()).toBe(500);
    expect(setup({ disk: volume }).space.quota()).toBe(850);
    expect(setup().space.quota()).toBeUndefined();
  });
});

describe("levels", () => {
  it("counts all of what is fetched for clients, and of the disk what is not written yet", async () => {
    const { world, space } = setup({ maxSize: 1_000, disk: volume });
    world.stored = 300;
    world.underWay = [fetching({}), fetching({ digest: OTHER, size: undefined, received: 7 })];
    expect(await space.levels()).toEqual({
      cached: { stored: 300, expected: 107 },
      quota: 1_000,
      disk: { total: 1_001, free: 500, missing: 60 },
      reserve: 10,
    });
  });

  it("does not count twice what a warm-up was promised, nor what is stored already", async () => {
    const { world, space } = setup({ maxSize: 1_000, disk: volume });
    world.underWay = [fetching({ foreground: false }), fetching({ digest: OTHER })];
    world.held.add(OTHER);
    await space.admit(100);
    expect(await space.levels()).toMatchObject({ cached: { expected: 100 }, disk: { missing: 100 } });
  });

  it("does not make room on the upstream's word alone: what it announces must come, too", async () => {
    const GiB = 2 ** 30;
    const expected = async (maxSize: number, size: number, received: number) => {
      const { world, space } = setup({ maxSize });
      world.underWay = [fetching({ size, received })];
      return (await space.levels()).cached.expected;
    };
    expect(await expected(50 * GiB, 5 * GiB, 3 * GiB)).toBe(5 * GiB);
    expect(await expected(50 * GiB, 40 * GiB, 4 * GiB)).toBe(8 * GiB);
    expect(await expected(50 * GiB, 40 * GiB, 1)).toBe(GiB / 4 + 1);
    expect(await expected(1_000, 10 ** 15, 1)).toBe(1);
  });

  it("never counts more arrivals than were promised", async () => {
    const { space } = setup({ maxSize: 1_000, disk: volume });
    const room = await space.admit(100);
    room.arrived(30);
    expect((await space.levels()).cached.expected).toBe(70);
    room.arrived(500);
    expect((await space.levels()).cached.expected).toBe(0);
  });
});

describe("admit", () => {
  it("holds the room until it is given back, and evicts nothing while there is room", async () => {
    const { world, space } = setup({ maxSize: 1_000 });
    world.stored = 850;
    const room = await space.admit(100);
    expect(await space.excess("high")).toEqual({ reason: undefined, bytes: 0 });
    expect(await space.excess("low")).toEqual({ reason: "quota", bytes: 100 });
    expect(world.reliefs).toBe(0);
    room.release();
    expect(await space.excess("low")).toEqual({ reason: undefined, bytes: 0 });
  });

  it("lets in what fits after a relief", async () => {
    const { world, space } = setup({ maxSize: 1_000 });
    world.stored = 900;
    world.relief = () => {
      world.stored = 800;
    };
    await space.admit(100);
    expect(world.reliefs).toBe(1);
  });

  it("refuses what does not fit even then, says why, and holds no room for it", async () => {
    const { world, space } = setup({ maxSize: 1_000 });
    world.stored = 900;
    const refusal = await space.admit(100).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(NoSpaceError);
    expect(isCodedError(refusal) && [refusal.code, refusal.message]).toEqual([
      "INSUFFICIENT_STORAGE",
      "no space: 100 B more do not fit into 1000 B (storage.maxSize) beside what is pinned",
    ]);
    expect(world.reliefs).toBe(1);
    expect((await space.levels()).cached.expected).toBe(0);
  });

  it("evicts nothing for what never fits", async () => {
    const { world, space } = setup({ maxSize: 1_000 });
    await expect(space.admit(951)).rejects.toThrow(NoSpaceError);
    expect(world.reliefs).toBe(0);
    await space.admit(950);
  });

  it("looks at the disk too, and names it where there is no quota", async () => {
    const { space } = setup({ maxSize: 1e9, disk: { ...volume, free: 120 } });
    await expect(space.admit(80)).rejects.toThrow(NoSpaceError);
    await space.admit(60);
    const none = new NoSpaceError(80, undefined);
    expect(none.message).toBe("no space: 80 B more do not fit into the disk beside what is pinned");
  });

  it("lets in one of two that ask together where there is room for one", async () => {
    const { space } = setup({ maxSize: 1_000 });
    const answers = await Promise.allSettled([space.admit(600), space.admit(600)]);
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  });

  it("keeps no room for what could not be looked at", async () => {
    const { world, space } = setup({ maxSize: 1_000 });
    world.error = new Error("out of reach");
    await expect(space.admit(100)).rejects.toThrow("out of reach");
    world.error = undefined;
    expect((await space.levels()).cached.expected).toBe(0);
  });

  it("keeps no room when none could be made, and goes on with the next", async () => {
    const { world, space } = setup({ maxSize: 1_000 });
    world.stored = 900;
    world.relief = () => {
      throw new Error("the database is away");
    };
    await expect(space.admit(100)).rejects.toThrow("the database is away");
    world.stored = 0;
    expect((await space.levels()).cached.expected).toBe(0);
    await space.admit(900);
  });
});
