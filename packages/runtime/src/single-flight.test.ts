import { describe, expect, it } from "vitest";
import { createSingleFlight } from "./single-flight.ts";

describe("createSingleFlight", () => {
  it("runs one call per key and gives everyone its result", async () => {
    const flights = createSingleFlight<object>();
    const { promise, resolve } = Promise.withResolvers<object>();
    let calls = 0;
    const task = () => {
      calls += 1;
      return promise;
    };
    const waiters = [flights.run("a", task), flights.run("a", task), flights.run("b", task)];
    expect([calls, flights.size, flights.has("a")]).toEqual([2, 2, true]);
    const value = {};
    resolve(value);
    for (const result of await Promise.all(waiters)) expect(result).toBe(value);
  });

  it("remembers nothing, neither results nor errors", async () => {
    const flights = createSingleFlight<number>();
    await expect(flights.run("a", async () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(flights.has("a")).toBe(false);
    expect(await flights.run("a", async () => 1)).toBe(1);
    expect(await flights.run("a", async () => 2)).toBe(2);
  });

  it("turns a synchronous throw into an error for everyone", async () => {
    const flights = createSingleFlight<number>();
    const failing = (): Promise<number> => {
      throw new Error("sync");
    };
    const results = await Promise.allSettled([flights.run("a", failing), flights.run("a", failing)]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "rejected"]);
    expect(flights.size).toBe(0);
  });

  it("drops only the waiter that gives up, even the first", async () => {
    const flights = createSingleFlight<string>();
    const { promise, resolve } = Promise.withResolvers<string>();
    const controller = new AbortController();
    const first = flights.run("a", () => promise, controller.signal);
    const second = flights.run("a", () => Promise.reject(new Error("a second call")));
    const reason = new Error("left");
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    expect(flights.has("a")).toBe(true);
    resolve("value");
    expect(await second).toBe("value");
  });

  it("does not start for a waiter that is gone already", async () => {
    const flights = createSingleFlight<string>();
    let calls = 0;
    const task = async () => {
      calls += 1;
      return "";
    };
    await expect(flights.run("a", task, AbortSignal.abort())).rejects.toThrow("aborted");
    expect(calls).toBe(0);
  });

  it("leaves no unhandled rejection when everyone left a call that fails", async () => {
    const flights = createSingleFlight<string>();
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => void unhandled.push(error);
    process.on("unhandledRejection", listener);
    const { promise, reject } = Promise.withResolvers<string>();
    const controller = new AbortController();
    const waiter = flights.run("a", () => promise, controller.signal);
    controller.abort();
    await expect(waiter).rejects.toThrow("aborted");
    reject(new Error("late"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off("unhandledRejection", listener);
    expect(unhandled).toEqual([]);
  });
});
