import { createTask, type ScheduledTask, setLogger, validate } from "node-cron";
import { z } from "zod";
import type { Service } from "./lifecycle.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";

const CRON_HINT = 'a cron expression in UTC such as "17 3 * * *"';

export function isCronExpression(text: string): boolean {
  return /^\S+(?:\s+\S+){4,5}$/.test(text.trim()) && validate(text);
}

/** Configuration block; here and not in config-types.ts, so that only processes with a schedule load node-cron. */
export function cron(defaultExpression?: string) {
  const schema = z
    .string()
    .refine(isCronExpression, { error: `expected ${CRON_HINT}` })
    .meta({ allowed: CRON_HINT });
  return defaultExpression === undefined ? schema : (schema.prefault(defaultExpression) as unknown as typeof schema);
}

export type ScheduleOptions = {
  readonly name: string;
  /** Cron, five fields or six with seconds, in UTC. */
  readonly expression: string;
  /** The signal is aborted when the process stops. */
  readonly task: (signal: AbortSignal) => Promise<unknown>;
  readonly logger: Logger;
  readonly metrics?: Metrics;
};

export type Schedule = Service & {
  start(): void;
  /** Aborts the running task and waits for it. */
  stop(): Promise<void>;
  /** Runs the task now, or joins the run that is under way. @throws the task's error */
  runNow(): Promise<void>;
};

/** @throws RangeError when the expression is none */
export function createSchedule({ name, expression, task, logger, metrics }: ScheduleOptions): Schedule {
  if (!isCronExpression(expression)) throw new RangeError(`${JSON.stringify(expression)} is not ${CRON_HINT}`);
  const log = logger.child({ schedule: name });
  const labels = ["schedule"] as const;
  const lastRun = metrics?.gauge({ name: "schedule_last_run_seconds", help: "Unix time of the last start", labels });
  const lastSuccess = metrics?.gauge({
    name: "schedule_last_success_seconds",
    help: "Unix time at which the last successful run ended",
    labels,
  });
  const duration = metrics?.gauge({
    name: "schedule_last_duration_seconds",
    help: "How long the last run took",
    labels,
  });
  const runs = metrics?.counter({
    name: "schedule_runs_total",
    help: "Runs by result",
    labels: ["schedule", "result"],
  });
  let ending = new AbortController();
  let running: Promise<void> | undefined;
  let timer: ScheduledTask | undefined;

  async function run(): Promise<void> {
    const started = Date.now();
    lastRun?.set({ schedule: name }, started / 1000);
    try {
      await task(ending.signal);
      lastSuccess?.set({ schedule: name }, Date.now() / 1000);
      runs?.inc({ schedule: name, result: "success" });
    } catch (error) {
      runs?.inc({ schedule: name, result: "failure" });
      throw error;
    } finally {
      duration?.set({ schedule: name }, (Date.now() - started) / 1000);
    }
  }

  function runNow(): Promise<void> {
    running ??= run().finally(() => {
      running = undefined;
    });
    return running;
  }

  async function tick(): Promise<void> {
    if (running) {
      log.warn("scheduled run skipped, the last one is still running");
      return;
    }
    try {
      await runNow();
    } catch (err) {
      log.error({ err }, "scheduled run failed");
    }
  }

  return {
    name,
    runNow,
    start() {
      // node-cron would write to the console.
      const write = (message: string | Error): void => log.debug({ message: String(message) }, "node-cron");
      setLogger({ info: write, warn: write, error: write, debug: write });
      ending = new AbortController();
      timer = createTask(expression, tick, { name, timezone: "Etc/UTC" });
      return void timer.start();
    },
    async stop() {
      await timer?.destroy();
      timer = undefined;
      ending.abort(new Error(`schedule ${name} stopped`));
      // Its error is told by whoever started the run.
      await running?.catch(() => {});
    },
  };
}
