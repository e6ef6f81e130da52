import { describe, expect, it } from "vitest";
import { createUrgency, createWaitQueue } from "./wait-queue.ts";

describe("createWaitQueue", () => {
  it("lets whoever waits in the background overtake when somebody in a hurry joins", async () => {
    const queue = createWaitQueue<number>();
    const urgency = createUrgency("background");
    const places = [
      queue.wait({ priority: "background" }),
      queue.wait({ priority: urgency }),
      queue.wait(),
      queue.wait({ priority: "background" }),
    ];
    urgency.raise();
    expect(urgency.current).toBe("foreground");
    let place = 0;
    while (queue.admit(() => ++place));
    expect(await Promise.all(places)).toEqual([3, 2, 1, 4]);
    expect(queue.size).toBe(0);
  });

  it("gives nothing to nobody, and forgets who left", async () => {
    const queue = createWaitQueue<number>();
    const leaving = new AbortController();
    const left = queue.wait({ signal: leaving.signal, priority: "background" });
    leaving.abort(new Error("enough"));
    await expect(left).rejects.toThrow("enough");
    let made = 0;
    expect(queue.admit(() => ++made)).toBe(false);
    expect(made).toBe(0);
  });
});
