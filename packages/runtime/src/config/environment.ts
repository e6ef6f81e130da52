import type { z } from "zod";
import { isMapping, type Mapping, parseYaml } from "./document.ts";
import { isSetWhole, keysOf, schemasAt } from "./schema-walk.ts";

export const ENV_PREFIX = "CREG_";

export type Override = { readonly variable: string; readonly path: readonly string[]; readonly value: unknown };

export function variableOf(path: readonly string[]): string {
  return ENV_PREFIX + path.map((key) => key.toUpperCase()).join("__");
}

/** `CREG_AUTH__TOKENFILE` → ["auth", "tokenFile"], found by walking the schema; or the problem with it. */
function pathOf(schema: z.ZodType, variable: string): { readonly path: string[] } | { readonly problem: string } {
  const path: string[] = [];
  for (const part of variable.slice(ENV_PREFIX.length).split("__")) {
    const here = schemasAt(schema, path);
    const keys = keysOf(here);
    const key = keys.find((candidate) => candidate.toUpperCase() === part);
    if (key !== undefined) {
      path.push(key);
    } else if (keys.length === 0 && isSetWhole(here)) {
      return { problem: `${variable}: lists and mappings are set whole, with ${variableOf(path)}` };
    } else {
      const allowed = keys.map((candidate) => variableOf([...path, candidate])).join(", ");
      return { problem: `${variable}: unknown variable; allowed here: ${allowed || variableOf(path)}` };
    }
  }
  return { path };
}

/**
 * What Kubernetes injects for a Service named `creg-…`, as a release of that name has: no key of ours.
 * https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
 */
function isServiceLink(variable: string, text: string): boolean {
  if (/_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/.test(variable)) return true;
  if (/_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/.test(variable)) return true;
  return variable.endsWith("_PORT") && /^(?:tcp|udp|sctp):\/\//.test(text);
}

/** Every `CREG_` variable as an override of the configuration, and all problems with them. */
export function readOverrides(
  schema: z.ZodType,
  env: Readonly<Record<string, string | undefined>>,
  allowed: readonly string[],
): { readonly overrides: Override[]; readonly problems: string[] } {
  const overrides: Override[] = [];
  const problems: string[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(ENV_PREFIX) || text === undefined || allowed.includes(variable)) continue;
    if (isServiceLink(variable, text)) continue;
    const found = pathOf(schema, variable);
    const parsed = parseYaml(text);
    if ("problem" in found) problems.push(found.problem);
    else if ("problems" in parsed) problems.push(`${variable}: ${parsed.problems.join(", ")}`);
    else overrides.push({ variable, path: found.path, value: parsed.value });
  }
  // Whole sections before their keys, so that the more precise variable wins.
  return { overrides: overrides.sort((a, b) => a.path.length - b.path.length), problems };
}

/** The mapping with one value set; an empty value removes the key, so that its default applies again. */
export function applyOverride(target: Mapping, { path, value }: Omit<Override, "variable">): Mapping {
  const [key, ...rest] = path;
  if (key === undefined) return target;
  const { [key]: current, ...others } = target;
  if (rest.length > 0) {
    return { ...others, [key]: applyOverride(isMapping(current) ? current : {}, { path: rest, value }) };
  }
  return value === null ? others : { ...others, [key]: value };
}
