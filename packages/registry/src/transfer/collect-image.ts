import type { Descriptor } from "@cache-registry/core/descriptor";
import type { Digest } from "@cache-registry/core/digest";
import { type ParsedManifest, parseManifest } from "@cache-registry/core/manifest";
import { matchesPlatform, type Platform } from "@cache-registry/core/platform";

/** An index may hold indexes; deeper than this is a bomb, not an image. */
const MAX_DEPTH = 4;
const MAX_MANIFESTS = 2_000;

export type CollectedManifest = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly parsed: ParsedManifest;
};

/** What an image consists of: children before the manifests that name them. */
export type CollectedImage = {
  readonly root: CollectedManifest;
  readonly manifests: readonly CollectedManifest[];
  readonly blobs: readonly Descriptor[];
};

export type CollectOptions = {
  /** Bytes of a manifest; undefined: it is left out, and the index that names it is sparse. */
  readonly load: (descriptor: Pick<Descriptor, "digest" | "mediaType">) => Promise<Buffer | undefined>;
  /** Of an index only these; empty: all. What has no platform belongs to every one. */
  readonly platforms?: readonly Platform[];
};

/** @throws CodedError MANIFEST_INVALID */
export async function collectImage(
  root: { readonly digest: Digest; readonly mediaType: string; readonly bytes: Buffer },
  { load, platforms = [] }: CollectOptions,
): Promise<CollectedImage> {
  const manifests = new Map<Digest, CollectedManifest>();
  const seen = new Set<Digest>();
  const blobs = new Map<Digest, Descriptor>();

  async function visit(
    { digest, mediaType, bytes }: Pick<CollectedManifest, "digest" | "mediaType" | "bytes">,
    depth: number,
  ): Promise<CollectedManifest> {
    if (depth > MAX_DEPTH) throw new Error(`${digest}: indexes are nested deeper than ${MAX_DEPTH}`);
    if (seen.size >= MAX_MANIFESTS) throw new Error(`${root.digest} consists of too many manifests`);
    seen.add(digest);
    const parsed = parseManifest(bytes, mediaType);
    for (const blob of parsed.blobs) blobs.set(blob.digest, blob);
    for (const child of parsed.manifests) {
      if (seen.has(child.digest) || !isWanted(child, platforms)) continue;
      const loaded = await load(child);
      if (loaded) await visit({ digest: child.digest, mediaType: child.mediaType, bytes: loaded }, depth + 1);
    }
    const collected = { digest, mediaType: parsed.mediaType, bytes, parsed };
    manifests.set(digest, collected);
    return collected;
  }

  const top = await visit(root, 0);
  return { root: top, manifests: [...manifests.values()], blobs: [...blobs.values()] };
}

function isWanted({ platform }: Descriptor, platforms: readonly Platform[]): boolean {
  return platforms.length === 0 || !platform || platforms.some((wanted) => matchesPlatform(wanted, platform));
}
