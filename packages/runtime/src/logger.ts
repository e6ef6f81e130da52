import { type DestinationStream, type LevelWithSilent, type Logger as PinoLogger, pino, stdTimeFunctions } from "pino";
import { isSecretKey, REDACTED, redactUserinfo } from "./secret-keys.ts";

/** `logger.info({ key: value }, "constant message")`; errors under `err`. */
export type Logger = PinoLogger;

export const LOG_LEVELS = [
  "trace",
  "debug",
  "info",
  "warn",
  "error",
  "fatal",
  "silent",
] as const satisfies LevelWithSilent[];
export type LogLevel = (typeof LOG_LEVELS)[number];

const MAX_DEPTH = 6;
const MAX_CAUSES = 5;
/** Lines waiting for a reader of stdout that has stopped; beyond it they are dropped, because memory matters more. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function scrub(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) return "[too deep]";
  if (Array.isArray(value)) return value.map((item) => scrub(item, depth + 1));
  if (value instanceof Error) return serializeError(value);
  if (!isPlainObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, isSecretKey(key) ? REDACTED : scrub(item, depth + 1)]),
  );
}

/** Only what we know to be safe: other properties of an error may hold the request with its headers. */
function serializeError(error: unknown, causes = 0): unknown {
  if (!(error instanceof Error)) return typeof error === "string" ? redactUserinfo(error) : scrub(error, 1);
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: redactUserinfo(error.message),
    ...(typeof code === "string" ? { code } : {}),
    stack: redactUserinfo(error.stack ?? ""),
    ...(error.cause === undefined || causes >= MAX_CAUSES ? {} : { cause: serializeError(error.cause, causes + 1) }),
  };
}

export type LoggerOptions = {
  readonly component: string;
  readonly level?: LogLevel;
  /** Where the lines go; stdout when missing. */
  readonly destination?: DestinationStream;
};

/** JSON lines with `level`, `time`, `component` and `msg`; values of keys that name secrets are replaced. */
export function createLogger(options: LoggerOptions): Logger {
  const { component, level = "info" } = options;
  // Not synchronous: a full pipe must not stop the streams. pino flushes at exit.
  const destination = options.destination ?? pino.destination({ dest: 1, sync: false, maxLength: MAX_PENDING_BYTES });
  return pino(
    {
      level,
      base: { component },
      timestamp: stdTimeFunctions.isoTime,
      serializers: { err: serializeError },
      formatters: {
        level: (label) => ({ level: label }),
        bindings: (bindings) => scrub(bindings, 0) as Record<string, unknown>,
        log: (object) => scrub(object, 0) as Record<string, unknown>,
      },
    },
    destination,
  );
}

/** For tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
