import { silentLogger } from "@cache-registry/runtime/logger";
import type { Lease } from "@cache-registry/storage/lease-store/lease-store";
import { describe, expect, it } from "vitest";
import { removeLeftovers } from "./leftovers.ts";

const lease = (holder: string): Lease => ({ name: `replica/${holder}`, holder, address: null, token: 1, since: 0 });

/** What a store is told of who lives, when the leases are these, look after look. */
async function toldAlive(looks: readonly (readonly string[] | Error)[]): Promise<string[]> {
  let told: ReadonlySet<string> = new Set();
  let asked = 0;
  const list = async (): Promise<Lease[]> => {
    const answer = looks[Math.min(asked, looks.length - 1)] ?? [];
    asked += 1;
    if (answer instanceof Error) throw answer;
    return answer.map(lease);
  };
  const blobs = {
    async removeLeftovers(alive: () => Promise<ReadonlySet<string>>) {
      told = await alive();
      return 0;
    },
  };
  const deps = { leases: { list }, blobs, logger: silentLogger(), lookEvery: 1 };
  await removeLeftovers(deps, new AbortController().signal);
  return [...told].sort();
}

describe("a replica", () => {
  it("is not gone because it has no lease yet, after an outage of the database", async () => {
    expect(await toldAlive([["a"], ["a"], ["a", "b"]])).toEqual(["a", "b"]);
  });

  it("is not gone because nobody could be asked", async () => {
    const away = new Error("out of reach");
    expect(await toldAlive([["a"], ...Array.from({ length: 20 }, () => away), ["a", "b"]])).toEqual(["a", "b"]);
  });

  it("is not looked for any more by a process that stops", async () => {
    const stopping = AbortSignal.abort(new Error("stopping"));
    const blobs = { removeLeftovers: async (alive: () => Promise<ReadonlySet<string>>) => (await alive()).size };
    const deps = { leases: { list: async () => [] }, blobs, logger: silentLogger() };
    await expect(removeLeftovers(deps, stopping)).rejects.toThrow("stopping");
  });
});
