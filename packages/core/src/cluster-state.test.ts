import { describe, expect, it } from "vitest";
import {
  type ClusterState,
  isSameClusterState,
  type LoopingOwner,
  loopingOwnerKey,
  MAX_CLUSTER_STATE_BYTES,
  MAX_LOOPS,
  parseClusterState,
  printClusterState,
} from "./cluster-state.ts";

const UNTIL = new Date("2026-11-21T12:00:00Z");

function owner(keys: Partial<LoopingOwner> = {}): LoopingOwner {
  return { namespace: "shop", apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-7d4b9c", until: UNTIL, ...keys };
}

function state(keys: Partial<ClusterState> = {}): ClusterState {
  return { version: 1, writtenAt: new Date("2026-11-21T10:00:00Z"), healthy: true, reasons: [], loops: [], ...keys };
}

describe("printClusterState", () => {
  it("is read back as it was", () => {
    const written = state({ healthy: false, reasons: ["the registry is not ready for 2m"], loops: [owner()] });

    expect(parseClusterState(printClusterState(written))).toEqual({ state: written });
  });

  it("keeps the owners that are left alone longest, and stays below the size with the longest names", () => {
    const loops = Array.from({ length: MAX_LOOPS + 50 }, (_, index) =>
      owner({
        namespace: "n".repeat(63),
        apiVersion: `${"g".repeat(253)}/v1alpha1`,
        kind: "K".repeat(63),
        name: String(index).padStart(253, "0"),
        until: new Date(UNTIL.getTime() + index),
      }),
    );

    const text = printClusterState(state({ loops, reasons: Array.from({ length: 99 }, () => "é".repeat(9_999)) }));

    expect(Buffer.byteLength(text)).toBeLessThan(MAX_CLUSTER_STATE_BYTES);
    const parsed = parseClusterState(text);
    expect(parsed).toMatchObject({ state: { loops: { length: MAX_LOOPS } } });
    expect(text).not.toContain(owner({ name: "49".padStart(253, "0") }).name);
    expect(text).toContain("50".padStart(253, "0"));
  });
});

describe("isSameClusterState", () => {
  it("does not look at the time of writing, nor at the order of the owners", () => {
    const loops = [owner({ name: "a" }), owner({ name: "b" })];

    expect(isSameClusterState(state({ loops }), state({ loops: loops.toReversed(), writtenAt: UNTIL }))).toBe(true);
    expect(isSameClusterState(state({ loops }), state({ loops: loops.slice(1) }))).toBe(false);
    expect(isSameClusterState(state(), state({ healthy: false }))).toBe(false);
  });
});

describe("loopingOwnerKey", () => {
  it("compares the API group, not its version", () => {
    expect(loopingOwnerKey(owner({ apiVersion: "apps/v1beta2" }))).toBe(loopingOwnerKey(owner()));
    expect(loopingOwnerKey(owner({ apiVersion: "v1" }))).not.toBe(loopingOwnerKey(owner()));
    expect(loopingOwnerKey(owner({ namespace: "other" }))).not.toBe(loopingOwnerKey(owner()));
  });
});

describe("parseClusterState", () => {
  const good = { version: 1, writtenAt: "2026-11-21T10:00:00Z", healthy: true };

  it("takes what newer controllers may add, and does without what may be empty", () => {
    const text = JSON.stringify({ ...good, quota: { left: 3 }, loops: [{ ...owner(), restarts: 7 }] });

    expect(parseClusterState(text)).toEqual({ state: state({ loops: [owner()] }) });
    expect(parseClusterState(JSON.stringify(good))).toEqual({ state: state() });
  });

  it.each([
    ["", "empty"],
    ["{", "not JSON"],
    ["null", /^document: /],
    ["[]", /^document: /],
    [JSON.stringify({ ...good, version: 2 }), /^version: /],
    [JSON.stringify({ ...good, healthy: "yes" }), /^healthy: /],
    [JSON.stringify({ ...good, healthy: undefined }), /^healthy: /],
    [JSON.stringify({ ...good, writtenAt: "yesterday" }), /^writtenAt: /],
    [JSON.stringify({ ...good, loops: [{ ...owner(), until: 3 }] }), /^loops\.0\.until: /],
    [JSON.stringify({ ...good, loops: [{ ...owner(), namespace: "" }] }), /^loops\.0\.namespace: /],
    [" ".repeat(MAX_CLUSTER_STATE_BYTES + 1), /^larger than/],
  ])("says what is wrong with %.60s", (text, problem) => {
    expect(parseClusterState(text)).toEqual({ problem: expect.stringMatching(problem) });
  });
});
