import {
  type Bindings,
  type ChildLoggerOptions,
  type DestinationStream,
  type LevelWithSilent,
  type Logger as PinoLogger,
  pino,
  stdTimeFunctions,
} from "pino";
import { textLine } from "./log-line.ts";
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
export const LOG_FORMATS = ["json", "text"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

const MAX_DEPTH = 6;
const MAX_CAUSES = 5;
/** Lines waiting for a reader of stdout that has stopped; beyond it they are dropped, because memory matters more. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;

function isPlainObject(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A copy without secrets. Of instances, only those that know how to be JSON are kept: a request would bring its headers. */
function scrub(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) return "[too deep]";
  if (Array.isArray(value)) return value.map((item) => scrub(item, depth + 1));
  if (value instanceof Error) return scrubError(value);
  if (!isPlainObject(value)) return "toJSON" in value ? value : `[${value.constructor.name}]`;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, isSecretKey(key) ? REDACTED : scrub(item, depth + 1)]),
  );
}

function scrubBindings(bindings: Bindings): Bindings {
  return scrub(bindings, 0) as Bindings;
}

/** Only what we know to be safe: other properties of an error may hold the request with its headers. */
function scrubError(error: unknown, causes = 0): unknown {
  if (!(error instanceof Error)) return scrub(error, 1);
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === "string" ? { code } : {}),
    stack: error.stack,
    ...(error.cause === undefined || causes >= MAX_CAUSES ? {} : { cause: scrubError(error.cause, causes + 1) }),
  };
}

type CreateChild = (this: Logger, bindings: Bindings, options?: ChildLoggerOptions) => Logger;

export type LoggerOptions = {
  readonly component: string;
  readonly level?: LogLevel;
  /** Default: json. */
  readonly format?: LogFormat;
  /** Where the lines go; stdout when missing. */
  readonly destination?: DestinationStream;
};

/** JSON lines (or text) with `level`, `time`, `component` and `msg`; values of keys that name secrets are replaced. */
export function createLogger(options: LoggerOptions): Logger {
  const { component, level = "info", format = "json" } = options;
  // Not synchronous: a full pipe must not stop the streams. pino flushes at exit.
  const destination = options.destination ?? pino.destination({ dest: 1, sync: false, maxLength: MAX_PENDING_BYTES });
  const logger = pino(
    {
      level,
      base: { component },
      timestamp: stdTimeFunctions.isoTime,
      // Errors are plain by then; pino's own serializer would take them apart differently.
      serializers: { err: (value: unknown) => value },
      formatters: { level: (label) => ({ level: label }), log: scrubBindings },
      hooks: { streamWrite: format === "text" ? (line) => textLine(redactUserinfo(line)) : redactUserinfo },
    },
    destination,
  );
  // pino has no formatter for the bindings of children. They inherit this method.
  // oxlint-disable-next-line typescript/unbound-method -- called with the child's own `this`
  const createChild: CreateChild = logger.child;
  const createScrubbedChild: CreateChild = function child(bindings, childOptions) {
    return createChild.call(this, scrubBindings(bindings), childOptions);
  };
  return Object.assign(logger, { child: createScrubbedChild });
}

/** For tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
