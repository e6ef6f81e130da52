import { expect, it } from "vitest";
import { createCircuitBreaker } from "./circuit-breaker.ts";

it("lets one request per window try while it is open, and all again after a success", () => {
  let now = 0;
  const breaker = createCircuitBreaker({ window: 1000, now: () => now });
  const tries = (count: number) => Array.from({ length: count }, () => breaker.allows());
  expect(tries(2)).toEqual([true, true]);
  breaker.failed();
  expect(breaker.open).toBe(true);
  expect(tries(2)).toEqual([false, false]);
  now = 1000;
  expect(tries(3)).toEqual([true, false, false]);
  now = 2000;
  expect(tries(2)).toEqual([true, false]);
  breaker.succeeded();
  expect(breaker.open).toBe(false);
  expect(tries(2)).toEqual([true, true]);
});
