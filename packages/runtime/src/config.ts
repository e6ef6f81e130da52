import { readFileSync } from "node:fs";
import type { z } from "zod";
import { isMapping, type Mapping, parseYaml } from "./config/document.ts";
import { applyOverride, type Override, readOverrides } from "./config/environment.ts";
import { problemsOf } from "./config/problems.ts";

/** Configuration that the process cannot start with. The message lists every problem, one per line, without secrets. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[], source?: string) {
    const title = `the configuration${source === undefined ? "" : ` in ${source}`} is not valid:`;
    super([title, ...problems.map((problem) => `  ${problem}`)].join("\n"));
    this.problems = problems;
  }
}

export type LoadConfigOptions<Schema extends z.ZodType> = {
  /** Strict objects only, so that unknown keys are found. */
  readonly schema: Schema;
  /** YAML; without one the configuration is empty, and defaults and variables decide. */
  readonly file?: string | undefined;
  /** Usually process.env. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `CREG_` variables that are no configuration keys. */
  readonly allowed?: readonly string[];
};

function readMapping(file: string): Mapping {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError([`the file cannot be read (${code ?? "unknown error"})`], file);
  }
  const parsed = parseYaml(text);
  if ("problems" in parsed) throw new ConfigError(parsed.problems, file);
  const value = parsed.value ?? {};
  if (!isMapping(value)) throw new ConfigError(["expected a mapping of keys to values"], file);
  return value;
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  // Instances of classes (Secret, RegExp) guard their own state.
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) return value;
  for (const item of Object.values(value)) deepFreeze(item);
  return Object.freeze(value);
}

/** ` (set by CREG_…)` when a variable set the key or a section around it. */
function originOf(path: readonly PropertyKey[], overrides: readonly Override[]): string {
  const origin = overrides.findLast((override) => override.path.every((key, index) => key === path[index]));
  return origin ? ` (set by ${origin.variable})` : "";
}

/**
 * Reads the configuration: the file, then `CREG_` variables over it (path in upper case joined by `__`, value parsed as
 * YAML, lists set whole), then the schema. The result is frozen, whatever its type says.
 * @throws ConfigError listing all problems at once
 */
export function loadConfig<Schema extends z.ZodType>(options: LoadConfigOptions<Schema>): z.output<Schema> {
  const { schema, file, env, allowed = [] } = options;
  const written = file === undefined ? {} : readMapping(file);
  const { overrides, problems } = readOverrides(schema, env, allowed);
  const input = overrides.reduce(applyOverride, written);
  const result = schema.safeParse(input, { reportInput: true });
  if (!result.success) {
    for (const { path, text } of result.error.issues.flatMap((issue) => problemsOf(issue, schema))) {
      problems.push(`${path.map(String).join(".") || "configuration"}: ${text}${originOf(path, overrides)}`);
    }
  }
  if (problems.length > 0 || !result.success) throw new ConfigError(problems, file);
  return deepFreeze(result.data);
}
