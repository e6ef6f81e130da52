import { parseDigest } from "@cache-registry/core/digest";
import { silentLogger } from "@cache-registry/runtime/logger";
import { describe, expect, it } from "vitest";
import { createPullRecorder } from "./pull-recorder.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);
type Entries = readonly { readonly repository: string }[];

/** Remembers what was written; each write takes a moment. */
function recorder(delay: () => Promise<void> = async () => {}) {
  const written: string[] = [];
  const write = (kind: string) => async (entries: Entries) => {
    await delay();
    written.push(...entries.map(({ repository }) => `${kind} ${repository}`));
  };
  const metadata = { recordPulls: write("pull"), touchBlobs: write("touch") };
  // Only these two methods of the store are used.
  const pulls = createPullRecorder({ metadata: metadata as never, logger: silentLogger() });
  return { pulls, written };
}

describe("createPullRecorder", () => {
  it("writes each thing once, however often it was read", async () => {
    const { pulls, written } = recorder();
    for (let read = 0; read < 100; read += 1) pulls.pulled("a", digest);
    pulls.touched("b", digest);
    expect(written).toEqual([]);
    await pulls.flush();
    await pulls.flush();
    expect(written).toEqual(["pull a", "touch b"]);
  });

  it("has everything written when a flush ends, also what an earlier one was still writing", async () => {
    const { pulls, written } = recorder(() => new Promise((resolve) => setTimeout(resolve, 20)));
    pulls.touched("a", digest);
    const first = pulls.flush();
    await Promise.resolve();
    await pulls.flush();
    expect(written).toEqual(["touch a"]);
    await first;
  });

  it("keeps apart what was asked for by a tag and by its digest", async () => {
    const written: unknown[] = [];
    const metadata = { recordPulls: async (pulls: readonly unknown[]) => void written.push(...pulls) };
    const pulls = createPullRecorder({ metadata: metadata as never, logger: silentLogger() });
    pulls.pulled("a", digest);
    for (let read = 0; read < 2; read += 1) pulls.pulled("a", digest, { byTag: true });
    await pulls.flush();
    expect(written).toMatchObject([{ byTag: false }, { byTag: true }]);
  });

  it("writes later what could not be written", async () => {
    let fails = true;
    const { pulls, written } = recorder(() => (fails ? Promise.reject(new Error("disk full")) : Promise.resolve()));
    pulls.pulled("a", digest);
    await expect(pulls.flush()).rejects.toThrow("disk full");
    fails = false;
    pulls.pulled("b", digest);
    await pulls.stop();
    expect(written).toEqual(["pull a", "pull b"]);
  });
});
