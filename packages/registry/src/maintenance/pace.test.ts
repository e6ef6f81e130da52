import { describe, expect, it } from "vitest";
import { createPace } from "./pace.ts";

describe("pace", () => {
  it("lets so many bytes pass in a second", async () => {
    const pace = createPace(100_000);
    const began = performance.now();
    for (let chunk = 0; chunk < 10; chunk += 1) await pace(3_000);
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(230);
  });

  it("does not make up for a pause", async () => {
    let now = 0;
    const pace = createPace(1_000, () => now);
    await pace(1);
    now = 60_000;
    await pace(1);
    const began = performance.now();
    const waiting = pace(100);
    await waiting;
    expect(performance.now() - began).toBeGreaterThan(50);
  });

  it("ends with the signal", async () => {
    const stop = new AbortController();
    const waiting = createPace(1)(1_000, stop.signal);
    stop.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
  });
});
