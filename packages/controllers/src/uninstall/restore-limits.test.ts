import { expect, it } from "vitest";
import { restoreLimitsOf } from "./restore-limits.ts";

it("are ten minutes and no registry unless something else is said", () => {
  const problems: string[] = [];
  expect(restoreLimitsOf({}, problems)).toEqual({ registries: new Set(), timeout: 600_000 });
  const values = { registry: ["harbor:5000", "quay.io"], timeout: "90s" };
  expect(restoreLimitsOf(values, problems)).toEqual({
    registries: new Set(["harbor:5000", "quay.io"]),
    timeout: 90_000,
  });
  expect(problems).toEqual([]);
});

it("name every option that is not allowed, and what it was", () => {
  const problems: string[] = [];
  restoreLimitsOf({ registry: ["harbor:5000", "no spaces", "a/b"], timeout: "soon" }, problems);
  expect(problems).toEqual([
    "--registry: expected a host, with a port, such as harbor:5000, instead of no spaces",
    "--registry: expected a host, with a port, such as harbor:5000, instead of a/b",
    "--timeout: expected a duration such as 10m",
  ]);
});
