import { section } from "@cache-registry/runtime/config-types";
import { cron } from "@cache-registry/runtime/schedule";
import { z } from "zod";

/** `storage.snapshots`: copies of a SQLite database beside the blobs. */
export const snapshotsConfig = section({
  enabled: z.boolean().default(true).describe("Keep copies of the SQLite database beside the blobs."),
  schedule: cron("*/10 * * * *").describe(
    "When one is taken, if anything changed, cron in UTC; also when the process stops.",
  ),
  keep: z
    .int({ error: "expected a whole number from 1 to 1000" })
    .min(1, { error: "expected a whole number from 1 to 1000" })
    .max(1000, { error: "expected a whole number from 1 to 1000" })
    .default(6)
    .describe("How many are kept."),
});
export type SnapshotsConfig = z.output<typeof snapshotsConfig>;
