import { type Digest, isDigest } from "@cache-registry/core/digest";
import {
  type ImageReference,
  manifestReferenceOf,
  printImageReference,
  withDefaultTag,
} from "@cache-registry/core/image-reference";
import { type Platform, parsePlatform } from "@cache-registry/core/platform";
import { BlobMissingError } from "@cache-registry/storage/blob-store/blob-store";
import type {
  ImageRecord,
  ManifestRecord,
  MetadataStore,
  Page,
} from "@cache-registry/storage/metadata-store/metadata-store";
import type { ManifestDocuments } from "../content/manifest-documents.ts";
import { type UpstreamRepository, upstreamRepository } from "../content/repository.ts";
import type { LentCredentials, UserAndPassword } from "../lent-credentials/lent-credentials.ts";
import type { BlobSource } from "../pull-through/blob-source.ts";
import { freshUntil, type TagPolicy } from "../pull-through/freshness.ts";
import type { ManifestSource } from "../pull-through/manifest-source.ts";
import { toClientError } from "../pull-through/upstream-failure.ts";
import type { Warming } from "../replicas/warming.ts";
import { closureOf, type ImageClosure } from "./image-closure.ts";
import type { WarmUp } from "./warm-up.ts";

/** A pin is a lease that its owner renews: a cluster that is gone does not hold its images for ever. Milliseconds. */
const PIN_LEASE_MS = 7 * 86_400_000;

export type ImageState = "pending" | "pulling" | "ready" | "stale" | "failed";

/** Sizes in bytes, progress in percent, times as RFC 3339. */
export type ImageDescription = {
  reference: string;
  digest: string | null;
  mediaType: string | null;
  state: ImageState;
  size: number;
  cachedBytes: number;
  progress: number;
  platforms: readonly string[];
  lastPulledAt: string | null;
  checkedAt: string | null;
  /** Until when a tag is served without asking upstream; null where nobody asks: digests, frozen tags. */
  freshUntil: string | null;
  error?: string;
  /** What kind of error, when somebody can do something about it. */
  reason?: "NoSpace";
};

export type WantImage = {
  readonly owner: string;
  readonly pin: boolean;
  readonly platforms: readonly string[];
  /** Undefined: what was lent before stays. Empty: it is taken back. */
  readonly credentials?: readonly UserAndPassword[] | undefined;
};

/** What the management API knows of images: who wants them, and how far they are here. */
export type Images = {
  /** Records the owner's wish and starts or joins the warm-up. */
  want(reference: ImageReference, wish: WantImage): Promise<void>;
  /**
   * Asks upstream what a tag names, at once, and warms it; a digest names what it always did.
   * @throws CodedError as a pull would, when the upstream cannot say and also when the tag is held: it is stale then
   */
  refresh(reference: ImageReference): Promise<void>;
  describe(reference: ImageReference): Promise<ImageDescription | undefined>;
  /** False when the owner held no such reference. */
  release(reference: ImageReference, owner: string): Promise<boolean>;
  list(page: Page & { readonly owner?: string }): Promise<ImageRecord[]>;
};

export type ImagesDeps = {
  readonly metadata: MetadataStore;
  readonly documents: ManifestDocuments;
  readonly blobs: BlobSource;
  readonly manifests: Pick<ManifestSource, "byDigest" | "refresh" | "forgetFailures">;
  readonly lent: Pick<LentCredentials, "lend" | "giveBack">;
  readonly warmUp: WarmUp;
  readonly tagPolicyOf: (registry: string, tag: string) => TagPolicy;
  /** With many replicas. */
  readonly warming?: Pick<Warming, "isRunning"> | undefined;
  /** Warmed when the wish names none. */
  readonly defaultPlatforms: readonly string[];
  readonly now?: () => number;
};

type Progress = Pick<ImageDescription, "size" | "cachedBytes" | "platforms"> & { readonly complete: boolean };

const NOTHING: Progress = { size: 0, cachedBytes: 0, platforms: [], complete: false };

export function createImages({
  metadata,
  documents,
  blobs,
  manifests,
  lent,
  warmUp,
  tagPolicyOf,
  warming,
  defaultPlatforms,
  now = Date.now,
}: ImagesDeps): Images {
  async function closureHere(
    repository: UpstreamRepository,
    root: Digest,
    platforms: readonly Platform[],
  ): Promise<ImageClosure | undefined> {
    return closureOf(root, platforms, async (digest) => {
      const record = await metadata.manifest(repository.name, digest);
      if (!record) return undefined;
      const bytes = await documents.load(digest).catch((error: unknown) => {
        if (error instanceof BlobMissingError) return undefined;
        throw error;
      });
      return bytes && { record, bytes };
    }).catch(() => undefined);
  }

  async function measure(
    repository: UpstreamRepository,
    root: Digest,
    platforms: readonly Platform[],
  ): Promise<Progress> {
    const closure = await closureHere(repository, root, platforms);
    if (!closure) return NOTHING;
    let size = 0;
    let cachedBytes = 0;
    let complete = true;
    for (const { digest, size: expected } of closure.blobs) {
      const here = (await metadata.blob(digest)) && (await metadata.isLinked(repository.name, digest));
      size += expected;
      cachedBytes += here ? expected : Math.min(expected, blobs.running(repository, digest)?.received ?? 0);
      complete &&= Boolean(here);
    }
    return { size, cachedBytes, complete, platforms: closure.platforms };
  }

  async function stateOf(key: string, complete: boolean, stale: boolean): Promise<ImageState> {
    if (complete) return stale ? "stale" : "ready";
    if (warmUp.waitsFor(key) !== undefined) return "pending";
    if (warmUp.isRunning(key) || (await warming?.isRunning(key))) return "pulling";
    return warmUp.lastFailure(key) === undefined ? "pending" : "failed";
  }

  function platformsOf(wanted: readonly string[]): Platform[] {
    const names = wanted.length > 0 ? wanted : defaultPlatforms;
    return names.map(parsePlatform).filter((platform) => platform !== undefined);
  }

  return {
    async want(reference, { owner, pin, platforms, credentials }) {
      const key = keyOf(reference);
      const at = now();
      if (credentials && lent.lend({ image: reference, owner, credentials })) {
        manifests.forgetFailures(upstreamRepository(reference.registry, reference.repository));
      }
      await metadata.putImage({
        reference: key,
        owner,
        platforms,
        now: at,
        ...(pin ? { pinnedUntil: at + PIN_LEASE_MS } : {}),
      });
      warmUp.start(withDefaultTag(reference), key, platformsOf(platforms));
    },
    async refresh(reference) {
      const repository = upstreamRepository(reference.registry, reference.repository);
      const wanted = manifestReferenceOf(reference);
      const asked = isDigest(wanted) ? manifests.byDigest(repository, wanted) : manifests.refresh(repository, wanted);
      await asked.catch((error: unknown) => {
        throw toClientError(error, "manifest");
      });
      const key = keyOf(reference);
      const { platforms = [] } = (await metadata.image(key)) ?? {};
      warmUp.start(withDefaultTag(reference), key, platformsOf(platforms));
    },
    async describe(reference) {
      const key = keyOf(reference);
      const repository = upstreamRepository(reference.registry, reference.repository);
      const wanted = manifestReferenceOf(reference);
      const wish = await metadata.image(key);
      const tag = isDigest(wanted) ? undefined : await metadata.tag(repository.name, wanted);
      const digest = isDigest(wanted) ? wanted : tag?.digest;
      const record = digest && (await metadata.manifest(repository.name, digest));
      if (!wish && !record) return undefined;
      const progress = record ? await measure(repository, record.digest, platformsOf(wish?.platforms ?? [])) : NOTHING;
      const failure = warmUp.lastFailure(key);
      const error = warmUp.waitsFor(key) ?? failure?.message;
      return {
        reference: key,
        ...documentOf(record),
        state: await stateOf(key, progress.complete, (tag?.staleSince ?? null) !== null),
        size: progress.size,
        cachedBytes: progress.cachedBytes,
        progress: progress.complete ? 100 : percent(progress),
        platforms: progress.platforms,
        lastPulledAt: record ? timeOf(await metadata.lastPulledAt(repository.name, record.digest)) : null,
        checkedAt: timeOf(tag?.checkedAt ?? null),
        freshUntil: timeOf(tag ? freshUntil(tag, tagPolicyOf(reference.registry, tag.name)) : null),
        ...(error === undefined ? {} : { error }),
        ...(failure?.reason && { reason: failure.reason }),
      };
    },
    async release(reference, owner) {
      lent.giveBack(reference, owner);
      const repository = upstreamRepository(reference.registry, reference.repository);
      const wanted = manifestReferenceOf(reference);
      const target = isDigest(wanted)
        ? { repository: repository.name, digest: wanted }
        : { repository: repository.name, tag: wanted };
      return metadata.releaseImage({ reference: keyOf(reference), owner, target, now: now() });
    },
    list: (page) => metadata.listImages(page),
  };
}

/** Normalised text, with `:latest` spelled out: the same image has one row. */
function keyOf(reference: ImageReference): string {
  return printImageReference(withDefaultTag(reference));
}

function documentOf(record: ManifestRecord | undefined): { digest: string | null; mediaType: string | null } {
  return { digest: record?.digest ?? null, mediaType: record?.mediaType ?? null };
}

function percent({ size, cachedBytes }: Progress): number {
  return size === 0 ? 0 : Math.min(99, Math.floor((cachedBytes / size) * 100));
}

function timeOf(milliseconds: number | null): string | null {
  return milliseconds === null ? null : new Date(milliseconds).toISOString();
}
