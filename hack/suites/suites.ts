/** Every suite of `npm test`, in the order of how soon it tells something, with the minutes it may take. */
export interface Suite {
  readonly name: string;
  /** Arguments for Node.js. */
  readonly run: readonly string[];
  /** After so many minutes it is ended and counts as failed. Cold tool builds are a step of their own. */
  readonly minutes: number;
  /** One check (lint, types) or a vitest project whose tests are counted. */
  readonly kind: "check" | "vitest";
}

const vitest = (project: string) => ["node_modules/vitest/vitest.mjs", "run", "--project", project];

export const SUITES: readonly Suite[] = [
  { name: "lint", kind: "check", minutes: 2, run: ["hack/suites/lint.ts"] },
  { name: "types", kind: "check", minutes: 2, run: ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"] },
  { name: "generated", kind: "check", minutes: 1, run: ["hack/generate.ts", "--check"] },
  { name: "unit", kind: "vitest", minutes: 4, run: vitest("unit") },
  { name: "architecture", kind: "vitest", minutes: 1, run: vitest("architecture") },
  { name: "tools", kind: "check", minutes: 24, run: ["hack/tools/main.ts"] },
  { name: "chart", kind: "vitest", minutes: 4, run: vitest("chart") },
  { name: "integration", kind: "vitest", minutes: 32, run: vitest("integration") },
  { name: "e2e", kind: "vitest", minutes: 20, run: vitest("e2e") },
];
