import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";
import { type Failure, type ReportedError, textOf } from "./failures.ts";

/** Path of the file to write to. */
export const FAILURES_FILE = "SUITE_FAILURES_FILE";

/**
 * Writes each failure at once as a line of JSON, so that a run that is ended leaves what it knew: tests, hooks of files and
 * of describes (which vitest's own JSON leaves out), and errors outside of any test.
 */
export default class FailureReporter implements Reporter {
  readonly #file = process.env[FAILURES_FILE];
  #root = process.cwd();

  onInit({ config }: Parameters<NonNullable<Reporter["onInit"]>>[0]): void {
    this.#root = config.root;
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result();
    if (state === "failed") this.#write(this.#fileOf(test.module), test.fullName, errors[0] ?? {});
  }

  onTestSuiteResult(suite: TestSuite): void {
    for (const error of suite.errors()) this.#write(this.#fileOf(suite.module), `${suite.fullName}: a hook`, error);
  }

  onTestModuleEnd(module: TestModule): void {
    for (const error of module.errors()) this.#write(this.#fileOf(module), "the file or a hook of it", error);
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly ReportedError[]): void {
    for (const error of unhandled) this.#write("outside of any test", undefined, error);
  }

  #fileOf({ moduleId }: TestModule): string {
    return relative(this.#root, moduleId);
  }

  #write(where: string, name: string | undefined, error: ReportedError): void {
    const failure: Failure = { where, name, error: textOf(error, this.#root) };
    if (this.#file) appendFileSync(this.#file, `${JSON.stringify(failure)}\n`);
  }
}
