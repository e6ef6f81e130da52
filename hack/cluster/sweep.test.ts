import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { claimDirectory } from "./sweep.ts";

describe("claimDirectory", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "claim-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("takes a new folder, and its own again whatever is in it", async () => {
    const root = join(folder, "new", "cluster");
    await claimDirectory(root);
    writeFileSync(join(root, "kubeconfig"), "");
    await claimDirectory(root);
    expect(readdirSync(root)).toContain("kubeconfig");
  });

  it("refuses a folder that holds something else", async () => {
    writeFileSync(join(folder, "thesis.tex"), "");
    await expect(claimDirectory(folder)).rejects.toThrow(/is not empty/);
    expect(readdirSync(folder)).toEqual(["thesis.tex"]);
  });
});
