import { describe, expect, it } from "vitest";
import { createProgress } from "./progress.ts";

const never = new AbortController().signal;

describe("createProgress", () => {
  it("tells every reader of the first bytes at once, then of batches", async () => {
    const progress = createProgress();
    const waiting = [progress.beyond(0, never), progress.beyond(0, never)];
    progress.advance(1);
    await Promise.all(waiting);
    expect(progress.readable).toBe(1);
    progress.advance(2);
    expect(progress.readable).toBe(1);
    await progress.beyond(1, never);
    expect(progress.readable).toBe(2);
    progress.advance(1_000_000);
    expect(progress.readable).toBe(1_000_000);
  });

  it("never goes back", () => {
    const progress = createProgress();
    progress.advance(10);
    progress.advance(5);
    expect(progress.readable).toBe(10);
  });

  it("tells of the rest and lets everybody go at the end", async () => {
    const progress = createProgress();
    progress.advance(1);
    progress.advance(2);
    const waiting = progress.beyond(2, never);
    progress.finish();
    await waiting;
    expect([progress.readable, progress.ended]).toEqual([2, true]);
  });

  it("fails for who waits for more, not for who has bytes left to read", async () => {
    const progress = createProgress();
    progress.advance(10);
    const waiting = progress.beyond(10, never);
    progress.fail(new Error("the upstream is gone"));
    await expect(waiting).rejects.toThrow("the upstream is gone");
    await progress.beyond(5, never);
    await expect(progress.beyond(10, never)).rejects.toThrow("the upstream is gone");
  });

  it("lets go of a reader that leaves", async () => {
    const progress = createProgress();
    const leaving = new AbortController();
    const waiting = progress.beyond(0, leaving.signal);
    leaving.abort();
    await waiting;
    expect(progress.readable).toBe(0);
  });
});
