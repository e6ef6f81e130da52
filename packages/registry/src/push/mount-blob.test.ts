import type { Digest } from "@cache-registry/core/digest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { localRepository } from "../content/repository.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { createMountBlob, type MountBlob } from "./mount-blob.ts";

const FROM = localRepository("team/base");
const TO = localRepository("team/app");
const bytes = Buffer.from("a layer");
const digest = digestOfBytes(bytes);

describe("a mount", () => {
  let stores: TestStores;
  let mount: MountBlob;

  beforeEach(async () => {
    stores = await openTestStores();
    mount = createMountBlob(stores);
  });
  afterEach(() => stores.dispose());

  async function hold(content: Buffer): Promise<void> {
    const writer = await stores.blobs.create();
    await writer.write(content);
    await writer.commit(digest);
    await writer.close();
    await link();
  }
  const link = () => stores.metadata.linkBlob({ repository: FROM, digest, size: bytes.length, now: 0 });
  const isLinked = (wanted: Digest) => stores.metadata.isLinked(TO.name, wanted);

  it("links what is here", async () => {
    await hold(bytes);
    expect([await mount(TO, digest), await isLinked(digest)]).toEqual([true, true]);
  });

  it("is refused for what nobody brought", async () => {
    expect([await mount(TO, digest), await isLinked(digest)]).toEqual([false, false]);
  });

  it.each([
    ["gone", link],
    ["cut short", () => hold(bytes.subarray(1))],
  ])("is refused when the bytes are %s: the client sends them", async (_what, prepare) => {
    await prepare();
    expect([await mount(TO, digest), await isLinked(digest)]).toEqual([false, false]);
    expect(await stores.metadata.blob(digest)).toBeUndefined();
  });
});
