import { getEventListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createDeadline } from "./deadline.ts";

describe("createDeadline", () => {
  it("aborts after its time, unless it was lifted", async () => {
    const strict = createDeadline(10);
    const lifted = createDeadline(10);
    lifted.lift();
    await sleep(40);
    expect(strict.signal.reason).toMatchObject({ message: "no answer within 10 ms" });
    expect(lifted.signal.aborted).toBe(false);
  });

  it("follows the outer signal with its reason, also when that was aborted before", () => {
    const outer = new AbortController();
    const early = createDeadline(60_000, outer.signal);
    outer.abort(new Error("over"));
    const late = createDeadline(60_000, outer.signal);
    for (const deadline of [early, late]) {
      expect(deadline.signal.reason).toMatchObject({ message: "over" });
      deadline.end();
    }
  });

  it("leaves nothing on the outer signal", () => {
    const outer = new AbortController();
    for (let index = 0; index < 100; index += 1) createDeadline(60_000, outer.signal).end();
    expect(getEventListeners(outer.signal, "abort")).toHaveLength(0);
  });
});
