import { describe, expect, it } from "vitest";
import { findCondition, setCondition } from "./conditions.ts";

const ready = { type: "Ready", status: "True", reason: "Cached", message: "It is there." } as const;
const early = new Date("2026-01-01T00:00:00.123Z");
const late = new Date("2026-01-02T00:00:00Z");

describe("setCondition", () => {
  it("moves the transition time only when the status changes", () => {
    const first = setCondition(undefined, ready, early);
    expect(findCondition(first, "Ready")?.lastTransitionTime).toBe("2026-01-01T00:00:00Z");
    const second = setCondition(first, { ...ready, reason: "Stale" }, late);
    expect(findCondition(second, "Ready")).toMatchObject({
      reason: "Stale",
      lastTransitionTime: "2026-01-01T00:00:00Z",
    });
    const third = setCondition(second, { ...ready, status: "False" }, late);
    expect(findCondition(third, "Ready")?.lastTransitionTime).toBe("2026-01-02T00:00:00Z");
  });

  it("leaves other conditions alone and keeps one order", () => {
    const one = setCondition(setCondition(undefined, ready, early), { ...ready, type: "InUse" }, early);
    const other = setCondition(setCondition(undefined, { ...ready, type: "InUse" }, early), ready, early);
    expect(one).toEqual(other);
    expect(one.map(({ type }) => type)).toEqual(["InUse", "Ready"]);
  });

  it("cuts messages that nobody would read", () => {
    const [condition] = setCondition(undefined, { ...ready, message: "x".repeat(40_000) }, early);
    expect(condition?.message).toHaveLength(1_024);
  });
});
