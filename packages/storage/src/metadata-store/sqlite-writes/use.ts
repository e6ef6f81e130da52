import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import { prepare } from "../sqlite-statement.ts";

/** SQL: ids of a manifest and of every index above it in its repository; parameters: the repository's id, the digest. */
export const WITH_ABOVE = `WITH RECURSIVE above (id) AS (
  SELECT id FROM manifests WHERE repository_id = ? AND digest = ?
  UNION
  SELECT p.manifest_id FROM above JOIN manifests AS m ON m.id = above.id
    JOIN manifest_references AS p ON p.repository_id = m.repository_id AND p.child = m.digest)`;

/** When manifests were used last. A use of a manifest is one of the indexes above it: they never go before it. */
export function createUse(db: DatabaseSync) {
  const record = prepare(
    db,
    `${WITH_ABOVE} UPDATE manifests SET used_at = ? WHERE id IN (SELECT id FROM above) AND used_at < ?`,
  );
  return {
    record(repositoryId: number, digest: Digest, at: number): void {
      record.run(repositoryId, digest, at, at);
    },
  };
}
