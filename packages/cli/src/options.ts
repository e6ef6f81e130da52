import type { ParseArgsOptionsConfig } from "node:util";

/** Options of commands beside --config; what they mean is checked by the command itself. */
export const OPTIONS: Readonly<Record<string, ParseArgsOptionsConfig>> = {
  scrub: { rate: { type: "string" }, after: { type: "string" }, json: { type: "boolean" } },
  rebuild: { snapshot: { type: "string" }, repository: { type: "string" }, discard: { type: "boolean" } },
};

const HELP: Readonly<Record<string, string>> = {
  scrub: `[--rate BYTES] [--after DIGEST] [--json]
Verifies every digest at rest; damaged bytes are quarantined, cached content is fetched again, lost pushes are named.
  --rate BYTES     read so much per second at most, such as 100Mi; default: scrub.rate while a registry serves
  --after DIGEST   go on behind this digest, as an interrupted run said
  --json           the report as one JSON document
exit code: 0 all is good, 3 damage was healed, 4 pushed content is lost, 130 interrupted, 1 it could not be done`,
  rebuild: `[--snapshot NAME] [--repository NAME | --discard]
Gives a stopped registry a usable database again, then makes metadata and bytes agree.
  --snapshot NAME    go back to this snapshot; default: the database as it is if it is in good order, else the newest good one
  --repository NAME  local repository for manifests whose place nobody knows; default: recovered
  --discard          leave such manifests to the collector: where everything is cached, the upstreams have them
exit code: 0 done, 4 pushed content is lost, 130 interrupted (run it again), 1 it could not be done`,
};

export function usageOf(command: string): string {
  return `usage: cache-registry ${command} [--config FILE] ${HELP[command] ?? ""}`.trimEnd();
}
