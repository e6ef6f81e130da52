import { createHash } from "node:crypto";
import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { Health } from "@cache-registry/runtime/health";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";

/** Probes come every few seconds and from several sides; an object store is not asked for each, in milliseconds. */
const REMEMBERED_MS = 2_000;
/** A failure, shorter: a probe that came while the stores were still being opened must not delay the start. */
const FAILURE_REMEMBERED_MS = 100;
/** Content that nobody has, so that the answer is short. */
const ABSENT = `sha256:${createHash("sha256").update("readiness probe of cache-registry").digest("hex")}` as Digest;

/**
 * `/readyz`: without its blobs the registry has nothing to give, so it is not ready and node proxies go to the upstream at
 * once. Without its metadata it still serves what it remembers: that is only told (`/readyz?verbose`).
 */
export function addStoreChecks(
  health: Health,
  { blobs, metadata }: { readonly blobs: BlobStore; readonly metadata: MetadataStore },
): void {
  const probe = blobs.probe ?? (async () => void (await blobs.stat(ABSENT)));
  health.addCheck({ name: "blob store", check: remembered(probe) });
  health.addCheck({
    name: "metadata store",
    warnOnly: true,
    check: remembered(async () => void (await metadata.usage())),
  });
}

/** Why the last try failed, asked anew when it is older than some time; callers at once share a try. */
export function remembered(attempt: () => Promise<void>): () => Promise<string | undefined> {
  let last: Promise<string | undefined> | undefined;
  let until = 0;
  return () => {
    if (!last || performance.now() > until) {
      until = performance.now() + REMEMBERED_MS;
      last = attempt().then(
        () => undefined,
        (error: unknown) => {
          until = performance.now() + FAILURE_REMEMBERED_MS;
          return messageOf(error);
        },
      );
    }
    return last;
  };
}
