import { execFile } from "node:child_process";
import { mkdtemp, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FAILURES_FILE } from "../../hack/suites/failure-reporter.ts";
import type { Failure } from "../../hack/suites/failures.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
let directory: string;
let failures: Failure[];

/** What a suite can suffer, each once. */
const FILES = {
  "hook.test.ts": `
    beforeAll(() => { throw new Error("the registry is not ready:\\nlisten EADDRINUSE", { cause: new Error("why") }); });
    it("needs it", () => expect(1).toBe(1));`,
  "describe.test.ts": `
    it("passes", () => expect(1).toBe(1));
    describe("a scene", () => {
      afterAll(() => { throw new Error("the scene does not close"); });
      it("passes too", () => expect(1).toBe(1));
    });`,
  "test.test.ts": `describe("numbers", () => { it("add up", () => expect(1 + 1).toBe(3)); });`,
  "load.test.ts": `throw new Error("cannot be loaded");`,
  "stray.test.ts": `
    it("leaves a promise behind", async () => {
      void Promise.reject(new Error("nobody waits for this"));
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(1).toBe(1);
    });`,
};

beforeAll(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), "creg-reporter-")));
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  const imports = `import { afterAll, beforeAll, describe, expect, it } from "vitest";\n`;
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(directory, name), imports + text);
  const file = join(directory, "failures.jsonl");
  const args = ["node_modules/vitest/vitest.mjs", "run", "--reporter", join(ROOT, "hack/suites/failure-reporter.ts")];
  const env = { PATH: process.env.PATH, [FAILURES_FILE]: file };
  // It fails, of course.
  await new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: directory, env }, resolve);
  });
  const lines = (await readFile(file, "utf8")).trim().split("\n");
  failures = lines.map((line) => JSON.parse(line) as Failure);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

it.each([
  ["hook.test.ts", "the file or a hook of it", /^the registry is not ready:\nlisten EADDRINUSE\ncaused by: why\nat /],
  ["describe.test.ts", "a scene: a hook", /^the scene does not close/],
  ["test.test.ts", "numbers > add up", /^expected 2 to be 3[\s\S]*at test\.test\.ts:2:\d+/],
  ["load.test.ts", "the file or a hook of it", /^cannot be loaded/],
  ["outside of any test", undefined, /^nobody waits for this/],
])("%s: names what failed and why", (where, name, error) => {
  const found = failures.filter((failure) => failure.where === where);
  expect(found).toEqual([{ where, ...(name === undefined ? {} : { name }), error: expect.stringMatching(error) }]);
});

it("names nothing else", () => {
  expect(failures).toHaveLength(Object.keys(FILES).length);
});
