import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { imageKey } from "./built-image.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "image-key-"));
  mkdirSync(join(root, "packages", "core", "src"), { recursive: true });
  mkdirSync(join(root, "charts"));
  writeFileSync(join(root, "packages/core/src/a.ts"), "1");
  writeFileSync(join(root, "package-lock.json"), "{}");
});
afterEach(() => rmSync(root, { recursive: true }));

it("changes with what goes into the image, and with nothing else", () => {
  const key = (reference = "x:1") => imageKey({ root, reference });
  const first = key();
  for (const file of ["packages/core/src/a.test.ts", "charts/values.yaml"]) {
    writeFileSync(join(root, file), "any");
    expect(key(), file).toBe(first);
  }
  const seen = new Set([first, key("x:2")]);
  for (const [file, text] of [
    ["packages/core/src/a.ts", "2"],
    ["packages/core/src/b.ts", "1"],
    ["package-lock.json", "{ }"],
  ] as const) {
    writeFileSync(join(root, file), text);
    seen.add(key());
  }
  expect(seen.size).toBe(5);
});
