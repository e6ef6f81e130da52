import { describe, expect, it } from "vitest";
import { countsOf } from "./counts.ts";

const report = { numPassedTests: 4110, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0 };

describe("countsOf", () => {
  it("counts tests", () => {
    expect(countsOf({ report: { ...report, numTodoTests: 1 }, failures: 0, ok: true })).toEqual({
      passed: 4110,
      failed: 0,
      skipped: 1,
    });
  });

  it("counts a hook that failed beside the tests that did", () => {
    const cut = { ...report, numFailedTests: 1, numPendingTests: 40 };
    expect(countsOf({ report: cut, failures: 2, ok: false })).toEqual({ passed: 4110, failed: 2, skipped: 40 });
  });

  it("fails a run that names no failure, one without a test, and one without a report", () => {
    expect(countsOf({ report, failures: 0, ok: false }).failed).toBe(1);
    expect(countsOf({ report: { ...report, numPassedTests: 0 }, failures: 0, ok: true }).failed).toBe(1);
    expect(countsOf({ report: undefined, failures: 0, ok: true })).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(countsOf({ report: undefined, failures: 3, ok: false }).failed).toBe(3);
  });
});
