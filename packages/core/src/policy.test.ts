import { expect, it } from "vitest";
import { type Check, firstObjection } from "./policy.ts";

it("gives the first objection, and asks nobody after it", () => {
  const asked: string[] = [];
  const check =
    (name: string, limit: number): Check<number, string> =>
    (value) => {
      asked.push(name);
      return value > limit ? { reason: name, message: `above ${limit}` } : undefined;
    };
  const checks = [check("a", 30), check("b", 20), check("c", 10)];
  expect(firstObjection(checks, 25)).toEqual({ reason: "b", message: "above 20" });
  expect(asked).toEqual(["a", "b"]);
  expect(firstObjection(checks, 5)).toBeUndefined();
  expect(firstObjection([], 5)).toBeUndefined();
});
