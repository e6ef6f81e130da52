import { describe, expect, it } from "vitest";
import { createLogger, silentLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";
import { createSchedule, isCronExpression } from "./schedule.ts";

const EVERY_SECOND = "* * * * * *";
const NEVER_SOON = "0 0 29 2 *";

describe("isCronExpression", () => {
  it("knows five and six fields", () => {
    for (const good of ["17 3 * * *", "*/5 * * * *", "0 0 1,15 * 1-5", EVERY_SECOND])
      expect(isCronExpression(good)).toBe(true);
    for (const bad of ["", "61 * * * *", "* * *", "daily", "* 25 * * *"]) expect(isCronExpression(bad)).toBe(false);
  });
});

describe("createSchedule", () => {
  it("runs at its time, without overlap, and skips with a word", async () => {
    const lines: string[] = [];
    const logger = createLogger({ component: "t", destination: { write: (line) => void lines.push(line) } });
    let runs = 0;
    const finish = Promise.withResolvers<void>();
    const task = () => {
      runs += 1;
      return finish.promise;
    };
    const schedule = createSchedule({ name: "gc", expression: EVERY_SECOND, task, logger });
    schedule.start();
    await expect.poll(() => lines.some((line) => line.includes("still running")), { timeout: 5_000 }).toBe(true);
    expect(runs).toBe(1);
    finish.resolve();
    await expect.poll(() => runs, { timeout: 5_000 }).toBeGreaterThan(1);
    await schedule.stop();
    const after = runs;
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(runs).toBe(after);
  });

  it("joins a running task when asked to run now", async () => {
    let runs = 0;
    const finish = Promise.withResolvers<void>();
    const task = () => {
      runs += 1;
      return finish.promise;
    };
    const schedule = createSchedule({ name: "gc", expression: NEVER_SOON, task, logger: silentLogger() });
    const both = [schedule.runNow(), schedule.runNow()];
    finish.resolve();
    await Promise.all(both);
    expect(runs).toBe(1);
    await schedule.runNow();
    expect(runs).toBe(2);
  });

  it("goes on after a failure, and tells it in metrics and to the caller", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    let fail = true;
    const task = async () => {
      if (fail) throw new Error("broken");
    };
    const schedule = createSchedule({ name: "gc", expression: NEVER_SOON, task, logger: silentLogger(), metrics });
    await expect(schedule.runNow()).rejects.toThrow("broken");
    expect(await metrics.text()).not.toContain('schedule_last_success_seconds{schedule="gc"}');
    fail = false;
    await schedule.runNow();
    const text = await metrics.text();
    expect(text).toContain('cache_registry_schedule_runs_total{schedule="gc",result="failure"} 1');
    expect(text).toContain('cache_registry_schedule_runs_total{schedule="gc",result="success"} 1');
    expect(text).toMatch(/schedule_last_success_seconds\{schedule="gc"\} 1\d{9}/);
    expect(text).toMatch(/schedule_last_run_seconds\{schedule="gc"\} 1\d{9}/);
  });

  it("aborts the running task when stopped, and waits for it", async () => {
    let ended = false;
    const task = (signal: AbortSignal) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener("abort", () =>
          setTimeout(() => {
            ended = true;
            reject(signal.reason);
          }, 20),
        );
      });
    const schedule = createSchedule({ name: "gc", expression: NEVER_SOON, task, logger: silentLogger() });
    schedule.start();
    const run = schedule.runNow();
    const [outcome] = await Promise.allSettled([run, schedule.stop()]);
    expect(outcome).toMatchObject({ status: "rejected", reason: { message: "schedule gc stopped" } });
    expect(ended).toBe(true);
  });

  it("refuses an expression that is none", () => {
    const options = { name: "gc", expression: "nightly", task: async () => {}, logger: silentLogger() };
    expect(() => createSchedule(options)).toThrow(RangeError);
  });
});
