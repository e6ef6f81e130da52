import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lock, lockHolder, tryLock } from "./lock.ts";

describe("lock", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "lock-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is held by one at a time", async () => {
    const file = join(folder, "deep", "lock");
    const first = await tryLock(file);
    expect(await tryLock(file)).toBeUndefined();
    expect(lockHolder(file)).toBe(String(process.pid));
    await first?.release();
    const second = await tryLock(file);
    expect(second).toBeDefined();
    await second?.release();
  });

  it("lets the next one in when it is released, and tells once who has it", async () => {
    const file = join(folder, "lock");
    const first = await tryLock(file);
    const told: string[] = [];
    const waiting = lock(file, (holder) => told.push(holder));
    await expect.poll(() => told).toEqual([String(process.pid)]);
    await first?.release();
    await (await waiting).release();
    expect(told).toHaveLength(1);
  });

  it("does not outlive a process that was killed", async () => {
    const file = join(folder, "lock");
    const source = `import { tryLock } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
      await tryLock(process.argv[1]); console.log("held"); setInterval(() => {}, 1000);`;
    const owner = spawn(process.execPath, ["--input-type=module", "--eval", source, file]);
    await new Promise((resolve) => owner.stdout.once("data", resolve));
    expect(await tryLock(file)).toBeUndefined();
    owner.kill("SIGKILL");
    const freed = await lock(file, () => undefined);
    expect(lockHolder(file)).toBe(String(process.pid));
    await freed.release();
  });
});
