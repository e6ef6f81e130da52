import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { messageOf } from "@cache-registry/core/errors";
import type { Health } from "./health.ts";
import type { Service } from "./lifecycle.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { isSameConfig } from "./secret.ts";

export type ConfigWatchOptions<Config extends object> = {
  /** A mounted ConfigMap swaps a symlink: what the path leads to is compared by its content. */
  readonly file: string;
  /** What the process was started with. */
  readonly config: Config;
  /** Reads and judges the whole. @throws Error, whose message lists the problems without secrets */
  readonly load: () => Config;
  /** The keys that may change while the process runs; of others it is said that they need a restart. */
  readonly hot: readonly (keyof Config & string)[];
  readonly apply: (config: Config) => void;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Milliseconds between two looks at the file. */
  readonly interval?: number;
};

const DEFAULT_INTERVAL_MS = 2_000;

/**
 * Follows a configuration file. A file that is not valid changes nothing: the log, the metrics and `/readyz?verbose` say
 * so until it is good again.
 */
export function createConfigWatch<Config extends object>(options: ConfigWatchOptions<Config>): Service {
  const { file, config, load, hot, apply, health, metrics, logger, interval = DEFAULT_INTERVAL_MS } = options;
  const reloads = metrics.counter({
    name: "config_reloads_total",
    help: "Changes of the configuration file, by result",
    labels: ["result"],
  });
  const successful = metrics.gauge({
    name: "config_last_reload_successful",
    help: "1 while the configuration file is what the process goes by, 0 while it is not valid",
  });
  successful.set(1);
  let applied: string | undefined;
  let problem: string | undefined;
  let needRestart: readonly string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const stopping = new AbortController();

  health.addCheck({
    name: "configuration",
    warnOnly: true,
    check() {
      if (problem !== undefined) return `the changed file is not used: ${problem.replace(/\s*\n\s*/g, " ")}`;
      return needRestart.length > 0 ? `a restart is needed for changes of ${needRestart.join(", ")}` : undefined;
    },
  });

  function refuse(error: unknown): void {
    const message = messageOf(error);
    // Once per problem: the next look comes soon.
    if (message !== problem) {
      reloads.inc({ result: "refused" });
      logger.error({ file, problem: message }, "configuration refused, going on with the last good one");
    }
    problem = message;
    successful.set(0);
  }

  function accept(next: Config): void {
    apply(next);
    const keys = Object.keys(next) as (keyof Config & string)[];
    needRestart = keys.filter((key) => !hot.includes(key) && !isSameConfig(next[key], config[key]));
    reloads.inc({ result: "accepted" });
    logger.info({ file, keys: hot }, "configuration read anew");
    if (needRestart.length > 0) logger.warn({ keys: needRestart }, "these changes need a restart");
  }

  async function look(): Promise<void> {
    try {
      const content = createHash("sha256")
        .update(await readFile(file))
        .digest("hex");
      if (stopping.signal.aborted) return;
      if (content !== applied) {
        const next = load();
        // The first look finds what the process was started with, unless it changed since.
        if (applied !== undefined || !isSameConfig(next, config)) accept(next);
      } else if (problem !== undefined) {
        logger.info({ file }, "configuration is again what is used");
      }
      applied = content;
      problem = undefined;
      successful.set(1);
    } catch (error) {
      refuse(error);
    }
  }

  async function lookAgainAndAgain(): Promise<void> {
    await look();
    if (!stopping.signal.aborted) timer = setTimeout(() => void lookAgainAndAgain(), interval).unref();
  }

  return {
    name: "configuration",
    start: () => lookAgainAndAgain(),
    stop() {
      stopping.abort();
      clearTimeout(timer);
    },
  };
}
