import type { Digest } from "@cache-registry/core/digest";
import type { BlobStore } from "./blob-store.ts";
import type { BlobStoreConfig } from "./config.ts";

/** Where clients are sent for blobs that are stored, as `storage.blobs.redirect` says; undefined: nowhere. */
export function redirectOf(
  redirect: BlobStoreConfig["redirect"],
  store: BlobStore,
): ((digest: Digest) => Promise<string>) | undefined {
  if (redirect === false) return undefined;
  if (redirect === "presigned") return store.redirectUrl;
  const { publicPath } = store;
  return publicPath && (async (digest) => `${redirect}/${await publicPath(digest)}`);
}
