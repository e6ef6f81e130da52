import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureTools } from "./ensure.ts";
import { goBuild } from "./go-build.ts";

describe("goBuild", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "go-build-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("shows the end of the log and leaves nothing when a build fails", async () => {
    const build = { name: "absent", module: "images", programs: { absent: "./absent" }, seconds: 1 };
    const building = goBuild(build, join(folder, "target"), join(folder, "build.log"));
    await expect(building).rejects.toThrow(/building absent failed \(go ended with 1\).*directory not found/s);
    expect(readdirSync(folder)).toEqual(["build.log"]);
  });
});

describe("ensureTools", () => {
  it("names the tools there are when asked for another", async () => {
    await expect(ensureTools(["kubect"], { log: () => undefined })).rejects.toThrow(
      /no such tool: kubect; known: .*kubectl/,
    );
  });
});
