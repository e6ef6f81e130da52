import { describe, expect, it } from "vitest";
import { type Figure, judge, measure, median, OURS } from "./measure.ts";

const figure = (better: "higher" | "lower", ours: number, theirs: number): Figure => ({
  name: "x",
  unit: "ms",
  better,
  goals: [],
  samples: [
    { peer: OURS, values: [ours], median: ours },
    { peer: "peer", values: [theirs], median: theirs },
  ],
});

describe("measure", () => {
  it("asks every peer once per repetition, in a turning order, and throws the warm-up away", async () => {
    const asked: string[] = [];
    const contender = (peer: string) => ({
      peer,
      run: async (round: number) => {
        asked.push(`${peer}${round}`);
        return round;
      },
    });
    const contenders = [contender("a"), contender("b")];
    const result = await measure({ name: "x", unit: "s", better: "lower", goals: [], contenders, repetitions: 3 });
    expect(asked).toEqual(["a-1", "b-1", "a0", "b0", "b1", "a1", "a2", "b2"]);
    expect(result.samples).toEqual([
      { peer: "a", values: [0, 1, 2], median: 1 },
      { peer: "b", values: [0, 1, 2], median: 1 },
    ]);
  });

  it.each([
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
  ])("median of %j is %d", (values, expected) => {
    expect(median(values)).toBe(expected);
  });
});

describe("judge", () => {
  it("takes higher or lower as better", () => {
    expect(judge(figure("higher", 3, 2), { peer: "peer", factor: 1.5 })).toMatchObject({ ratio: 1.5, met: true });
    expect(judge(figure("higher", 2.9, 2), { peer: "peer", factor: 1.5 })?.met).toBe(false);
    expect(judge(figure("lower", 12, 2), { peer: "peer", factor: 1, plus: 10 })?.met).toBe(true);
    expect(judge(figure("lower", 13, 2), { peer: "peer", factor: 1, plus: 10 })?.met).toBe(false);
  });

  it("knows limits of its own and a choice of two", () => {
    expect(judge(figure("lower", 900, 1), { limit: 1_000 })).toEqual({ ratio: 0.9, goal: "≤ 1,000 ms", met: true });
    expect(judge(figure("lower", 1_001, 1), { limit: 1_000 })?.met).toBe(false);
    const either = { peer: "peer", factor: 2, orPlus: 5 };
    expect([8, 8.5].map((ours) => judge(figure("lower", ours, 3), either)?.met)).toEqual([true, false]);
    expect([20, 20.5].map((ours) => judge(figure("lower", ours, 10), either)?.met)).toEqual([true, false]);
  });

  it("says nothing about a peer that was not there", () => {
    expect(judge(figure("lower", 1, 1), { peer: "other", factor: 1 })).toBeUndefined();
  });
});
