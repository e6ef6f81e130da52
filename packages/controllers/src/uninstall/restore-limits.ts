import type { CommandOptions } from "@cache-registry/runtime/command";
import { duration, registryName } from "@cache-registry/runtime/config-types";

/** What the commands that make pods independent of a cache are told in the same words. */
export type RestoreLimits = {
  /** `--registry`, each: registries that names below the endpoint may mean, though they look like folders. */
  readonly registries: ReadonlySet<string>;
  /** `--timeout`, in milliseconds. */
  readonly timeout: number;
};

const DEFAULT_TIMEOUT = "10m";

/** What is not allowed is added to `problems`, and left out. */
export function restoreLimitsOf(values: NonNullable<CommandOptions["values"]>, problems: string[]): RestoreLimits {
  const registries = new Set<string>();
  for (const name of Array.isArray(values.registry) ? values.registry.map(String) : []) {
    const parsed = registryName().safeParse(name);
    if (parsed.success) registries.add(parsed.data);
    else problems.push(`--registry: expected a host, with a port, such as harbor:5000, instead of ${name}`);
  }
  const timeout = duration().safeParse(values.timeout ?? DEFAULT_TIMEOUT);
  if (!timeout.success) problems.push(`--timeout: expected a duration such as ${DEFAULT_TIMEOUT}`);
  return { registries, timeout: timeout.data ?? 0 };
}
