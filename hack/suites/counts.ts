/** What a suite adds to the last line. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Of vitest's JSON report. */
export interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
}

export interface RunOutcome {
  /** Nothing when the run ended before it could write one. */
  readonly report: VitestReport | undefined;
  /** Failed tests, hooks and files that were named. */
  readonly failures: number;
  /** It ended with status 0. */
  readonly ok: boolean;
}

/** A failed hook has no failed test, only skipped ones, but is a failure; a run without any test proves nothing. */
export function countsOf({ report, failures, ok }: RunOutcome): Counts {
  if (!report) return { passed: 0, failed: Math.max(1, failures), skipped: 0 };
  const atLeast = ok && report.numPassedTests > 0 ? 0 : 1;
  return {
    passed: report.numPassedTests,
    failed: Math.max(report.numFailedTests, failures, atLeast),
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
