import { describe, expect, it } from "vitest";
import { createSpace } from "./space.ts";

const usage = { blobs: 1, bytes: 800, cachedBytes: 800, manifests: 1, repositories: 1 };

function spaceWith({ relieve = async () => {} }: { relieve?: () => Promise<void> } = {}) {
  const metadata = { usage: async () => usage, blob: async () => undefined };
  const space = createSpace({
    metadata,
    disk: { state: undefined, look: async () => undefined },
    maxSize: 1_000,
    underWay: () => [],
    relieve: () => relieve(),
  });
  return { space, metadata };
}

describe("admit", () => {
  it("promises room until it is released, and refuses what does not fit beside it", async () => {
    const { space } = spaceWith();
    const room = await space.admit(100);
    expect(await space.levels()).toMatchObject({ cached: { expected: 100 } });
    await expect(space.admit(100)).rejects.toThrow("no space");
    room.release();
    expect(await space.levels()).toMatchObject({ cached: { expected: 0 } });
  });

  it("keeps no room for what could not be looked at", async () => {
    const { space, metadata } = spaceWith();
    const look = metadata.usage;
    metadata.usage = () => Promise.reject(new Error("out of reach"));
    await expect(space.admit(100)).rejects.toThrow("out of reach");
    metadata.usage = look;
    expect(await space.levels()).toMatchObject({ cached: { expected: 0 } });
  });

  it("keeps no room when none could be made", async () => {
    const { space } = spaceWith({ relieve: () => Promise.reject(new Error("out of reach")) });
    await expect(space.admit(200)).rejects.toThrow("out of reach");
    expect(await space.levels()).toMatchObject({ cached: { expected: 0 } });
  });
});
