import type { ParseArgsOptionsConfig } from "node:util";

/** Options of commands beside --config; what they mean is checked by the command itself. */
export const OPTIONS: Readonly<Record<string, ParseArgsOptionsConfig>> = {
  scrub: { rate: { type: "string" }, after: { type: "string" }, json: { type: "boolean" } },
};

const HELP: Readonly<Record<string, string>> = {
  scrub: `[--rate BYTES] [--after DIGEST] [--json]
Verifies every digest at rest; damaged bytes are quarantined, cached content is fetched again, lost pushes are named.
  --rate BYTES     read so much per second at most, such as 100Mi; default: scrub.rate while a registry serves
  --after DIGEST   go on behind this digest, as an interrupted run said
  --json           the report as one JSON document
exit code: 0 all is good, 3 damage was healed, 4 pushed content is lost, 130 interrupted, 1 it could not be done`,
};

export function usageOf(command: string): string {
  return `usage: cache-registry ${command} [--config FILE] ${HELP[command] ?? ""}`.trimEnd();
}
