import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { watchFiles } from "./file-watch.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "file-watch-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("looks soon after a change, without waiting for the interval, until it is ended", async () => {
  const look = vi.fn<() => void>();
  const stop = watchFiles([join(folder, "a"), join(folder, "b")], 3_600_000, look);
  expect(look).not.toHaveBeenCalled();

  writeFileSync(join(folder, "a"), "1");
  writeFileSync(join(folder, "b"), "1");
  await vi.waitFor(() => expect(look).toHaveBeenCalled(), { timeout: 10_000, interval: 10 });

  stop();
  look.mockClear();
  writeFileSync(join(folder, "a"), "2");
  await sleep(250);
  expect(look).not.toHaveBeenCalled();
});

it("looks at each interval where the folder cannot be watched", async () => {
  const look = vi.fn<() => void>();
  const stop = watchFiles([join(folder, "none", "a")], 10, look);
  await vi.waitFor(() => expect(look.mock.calls.length).toBeGreaterThan(2), { timeout: 10_000, interval: 10 });
  stop();
});
