import { filePath } from "@cache-registry/runtime/config-types";
import { z } from "zod";

export function matching(pattern: RegExp, hint: string) {
  return z
    .string()
    .regex(pattern, { error: `expected ${hint}` })
    .meta({ allowed: hint });
}

/** Bucket of S3 or Google. */
export function bucketName(maxLength: number) {
  const hint = `a bucket name: 3 to ${maxLength} letters, digits, dots, hyphens and underscores`;
  return matching(new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{2,${maxLength - 1}}$`), hint);
}

const PREFIX_HINT = "path segments of letters, digits, `.`, `_` and `-`";

/** Keys that every object store has. */
export const objectStoreKeys = {
  prefix: matching(/^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?$/, PREFIX_HINT)
    .default("")
    .describe("Folder in it, for this registry alone: what is below it is removed when no row knows it"),
  spool: filePath("./data/spool").describe(
    "Local folder for content on its way; upload sessions survive a restart there",
  ),
};

/** As keys begin: empty, or ending in a slash. */
export function prefixOf(prefix: string): string {
  return prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
}
