import type { FastifyInstance } from "fastify";
import { sleep } from "./backoff.ts";
import { ConfigError } from "./config.ts";
import type { Health } from "./health.ts";
import type { Logger } from "./logger.ts";
import { type ListenOptions, listen } from "./server.ts";

const EXIT_FAILURE = 1;
const EXIT_CONFIG = 2;
const DEFAULT_DRAIN_TIMEOUT = 25_000;
/** Of the drain time-out, for running requests: what is left is for those that have something to put in order at their end. */
const PART_FOR_REQUESTS = 0.8;

/** Something that runs as long as the process. A start that fails leaves nothing behind: only what started is stopped. */
export type Service = {
  readonly name: string;
  /** The signal is aborted when the process is told to end while it starts. */
  start?(signal: AbortSignal): unknown;
  /** The signal is aborted when those of others must not be waited for any longer: the process is about to end. */
  stop?(hurry?: AbortSignal): unknown;
};

/** Listens at the start; at the stop, running requests finish, and are cut when that takes too long. */
export function serverService(options: {
  readonly name: string;
  readonly server: FastifyInstance;
  readonly listen: ListenOptions;
}): Service {
  const { name, server } = options;
  return { name, start: () => listen(server, options.listen), stop: (hurry) => closeServer(server, hurry) };
}

async function closeServer(server: FastifyInstance, hurry: AbortSignal | undefined): Promise<void> {
  const cut = (): void => {
    server.log.warn("requests that are still running are cut");
    server.server.closeAllConnections();
  };
  hurry?.addEventListener("abort", cut, { once: true });
  const closing = server.close();
  if (hurry?.aborted) cut();
  try {
    await closing;
  } finally {
    hurry?.removeEventListener("abort", cut);
  }
}

/** Runs a program's body. A ConfigError ends it with its message and status 2, before anything listens. */
export async function runMain(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    const config = error instanceof ConfigError;
    const text = error instanceof Error ? (config ? error.message : error.stack) : String(error);
    process.stderr.write(`${text}\n`);
    process.exit(config ? EXIT_CONFIG : EXIT_FAILURE);
  }
}

export type RunProcessOptions = {
  readonly logger: Logger;
  readonly health: Health;
  /** Started in this order, stopped in reverse: the management server first, servers of the public last. */
  readonly services: readonly Service[];
  /** Milliseconds to serve on, unready, after the signal: until load balancers have noticed. */
  readonly grace?: number;
  /** Milliseconds for all stops together; then the process exits with 1. Requests are cut some time before. */
  readonly drainTimeout?: number;
};

/**
 * Runs the services until SIGTERM or SIGINT, then: unready, grace, stop. Ends the process: 0 after a clean stop, 1 after
 * a failure, an unhandled error or a missed deadline. A second signal ends it at once.
 */
export async function runProcess(options: RunProcessOptions): Promise<void> {
  const { logger, health, services, grace = 0, drainTimeout = DEFAULT_DRAIN_TIMEOUT } = options;
  const ending = new AbortController();
  const hurry = new AbortController();

  function setDeadline(milliseconds: number): void {
    setTimeout(() => hurry.abort(), milliseconds - (1 - PART_FOR_REQUESTS) * drainTimeout);
    setTimeout(() => {
      logger.fatal({ drainTimeout }, "shutdown deadline missed");
      process.exit(EXIT_FAILURE);
    }, milliseconds);
  }

  function onSignal(signal: NodeJS.Signals): void {
    if (ending.signal.aborted) {
      logger.fatal({ signal }, "second signal, exiting at once");
      process.exit(EXIT_FAILURE);
    }
    logger.info({ signal, grace }, "shutting down");
    health.setUnready("shutting down");
    setDeadline(grace + drainTimeout);
    ending.abort(new Error(`ended by ${signal}`));
  }

  function onFatal(err: unknown): void {
    logger.fatal({ err }, "unhandled error");
    process.exit(EXIT_FAILURE);
  }

  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  process.on("unhandledRejection", onFatal).on("uncaughtException", onFatal);

  const started: Service[] = [];
  try {
    await startAll(services, started, ending.signal);
    if (!ending.signal.aborted) {
      health.setReady();
      logger.info("ready");
      await aborted(ending.signal);
    }
    await sleep(started.length === services.length ? grace : 0);
  } catch (err) {
    if (!ending.signal.aborted) setDeadline(drainTimeout);
    health.setUnready("failed to start");
    logger.error({ err }, "start failed");
    await stopAll(started, logger, hurry.signal);
    throw err;
  }
  const clean = await stopAll(started, logger, hurry.signal);
  logger.info("stopped");
  process.exit(clean ? 0 : EXIT_FAILURE);
}

async function startAll(services: readonly Service[], started: Service[], signal: AbortSignal): Promise<void> {
  for (const service of services) {
    if (signal.aborted) return;
    try {
      await service.start?.(signal);
    } catch (error) {
      // Giving up when told to is no failure.
      if (signal.aborted) return;
      throw error;
    }
    started.push(service);
  }
}

async function stopAll(started: readonly Service[], logger: Logger, hurry: AbortSignal): Promise<boolean> {
  let clean = true;
  for (const service of started.toReversed()) {
    try {
      await service.stop?.(hurry);
    } catch (err) {
      clean = false;
      logger.error({ service: service.name, err }, "stop failed");
    }
  }
  return clean;
}

/** Waits for the signal, and keeps the process alive meanwhile even if no service does. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const keepAlive = setInterval(() => {}, 2 ** 30);
    const end = (): void => {
      clearInterval(keepAlive);
      resolve();
    };
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
  });
}
