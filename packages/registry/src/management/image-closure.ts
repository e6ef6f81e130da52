import type { Descriptor } from "@cache-registry/core/descriptor";
import type { Digest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { parseManifest } from "@cache-registry/core/manifest";
import { isIndexType } from "@cache-registry/core/media-type";
import { matchesPlatform, type Platform, printPlatform } from "@cache-registry/core/platform";
import type { ManifestRecord } from "@cache-registry/storage/metadata-store/metadata-store";

/** An index may hold indexes; deeper than this is refused (a bomb, not an image). */
const MAX_DEPTH = 4;
/** Manifests of one image for the wanted platforms. */
const MAX_MANIFESTS = 1_000;

/** What an image consists of for the wanted platforms. Sizes in bytes. */
export type ImageClosure = {
  readonly manifests: readonly Digest[];
  readonly blobs: readonly Descriptor[];
  /** Platforms that were found, as text; empty for a manifest without an index. */
  readonly platforms: readonly string[];
};

export type LoadManifest = (
  digest: Digest,
) => Promise<{ readonly record: ManifestRecord; readonly bytes: Buffer } | undefined>;

/**
 * Walks from a manifest to its blobs. `load` fetches or only looks; undefined for a manifest that is not there yet makes
 * the closure undefined.
 * @throws CodedError MANIFEST_UNKNOWN when an index offers none of the platforms
 */
export async function closureOf(
  root: Digest,
  platforms: readonly Platform[],
  load: LoadManifest,
): Promise<ImageClosure | undefined> {
  const manifests: Digest[] = [];
  const blobs = new Map<Digest, Descriptor>();
  const found = new Set<string>();

  async function visit(digest: Digest, depth: number): Promise<boolean> {
    if (depth > MAX_DEPTH) throw new CodedError("MANIFEST_INVALID", `indexes are nested deeper than ${MAX_DEPTH}`);
    if (manifests.includes(digest)) return true;
    if (manifests.length >= MAX_MANIFESTS) throw new CodedError("MANIFEST_INVALID", "the image has too many manifests");
    const loaded = await load(digest);
    if (!loaded) return false;
    manifests.push(digest);
    const parsed = parseManifest(loaded.bytes, loaded.record.mediaType);
    for (const blob of parsed.blobs) blobs.set(blob.digest, blob);
    for (const child of parsed.manifests) {
      if (!wanted(child, platforms)) continue;
      if (child.platform) found.add(printPlatform(child.platform));
      if (!(await visit(child.digest, depth + 1))) return false;
    }
    return true;
  }

  if (!(await visit(root, 0))) return undefined;
  const [index, child] = manifests;
  if (index && child === undefined && blobs.size === 0 && platforms.length > 0) {
    const loaded = await load(root);
    if (loaded && isIndexType(loaded.record.mediaType)) throw noPlatform(platforms);
  }
  return { manifests, blobs: [...blobs.values()], platforms: [...found] };
}

/** Children without a platform are nested indexes or artifacts: they belong to every platform. */
function wanted(child: Descriptor, platforms: readonly Platform[]): boolean {
  const { platform } = child;
  if (platforms.length === 0 || !platform) return true;
  return platforms.some((each) => matchesPlatform(each, platform));
}

function noPlatform(platforms: readonly Platform[]): CodedError {
  return new CodedError(
    "MANIFEST_UNKNOWN",
    `the image offers none of the platforms ${platforms.map(printPlatform).join(", ")}`,
  );
}
