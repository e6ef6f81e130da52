import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSecretFile, Secret } from "./secret.ts";

describe("Secret", () => {
  const secret = new Secret("hunter2");

  it("gives its value only when asked", () => {
    expect(secret.reveal()).toBe("hunter2");
  });

  it("prints as [redacted] everywhere else", () => {
    const prints = [
      "".concat(secret as never),
      String(secret),
      JSON.stringify({ secret }),
      inspect({ secret }, { showHidden: true }),
    ];
    for (const print of prints) {
      expect(print).toContain("[redacted]");
      expect(print).not.toContain("hunter2");
    }
    expect(Object.values(secret)).toEqual([]);
  });
});

describe("createSecretFile", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "runtime-secret-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("trims one trailing newline only", async () => {
    const path = join(folder, "token");
    for (const [content, value] of [
      ["a b", "a b"],
      ["token\n", "token"],
      ["token\r\n", "token"],
      ["token\n\n", "token\n"],
      [" token ", " token "],
    ] as const) {
      writeFileSync(path, content);
      expect(await createSecretFile(path).read()).toBe(value);
    }
  });

  it("sees a change in place, of the same length too", async () => {
    const path = join(folder, "token");
    writeFileSync(path, "one");
    const file = createSecretFile(path);
    expect(await file.read()).toBe("one");
    writeFileSync(path, "two");
    expect(await file.read()).toBe("two");
  });

  it("sees a mounted Secret swapped by its ..data symlink", async () => {
    for (const version of ["v1", "v2"]) {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, "token"), version);
    }
    symlinkSync("v1", join(folder, "..data"));
    symlinkSync("..data/token", join(folder, "token"));
    const file = createSecretFile(join(folder, "token"));
    expect(await file.read()).toBe("v1");
    symlinkSync("v2", join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    expect(await file.read()).toBe("v2");
  });

  it("names the path of a file that is missing or was taken away", async () => {
    const path = join(folder, "token");
    const file = createSecretFile(path);
    await expect(file.read()).rejects.toThrow(path);
    writeFileSync(path, "one");
    expect(await file.read()).toBe("one");
    rmSync(path);
    await expect(file.read()).rejects.toThrow(path);
  });
});
