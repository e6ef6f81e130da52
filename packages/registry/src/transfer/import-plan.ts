import { Descriptor } from "@cache-registry/core/descriptor";
import type { Digest } from "@cache-registry/core/digest";
import {
  type ImageReference,
  looksLikeRegistry,
  parseImageReference,
  printImageReference,
  withDefaultTag,
} from "@cache-registry/core/image-reference";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { z } from "zod";
import { type CollectedImage, collectImage } from "./collect-image.ts";
import type { LayoutReader } from "./layout.ts";
import type { RepositoryName } from "./registry-source.ts";
import { bytesOf, DamagedError, verified } from "./verified.ts";

export type PlannedImage = {
  readonly name: RepositoryName;
  /** To be tagged and pinned; undefined for referrers, which follow their subject. */
  readonly reference: ImageReference | undefined;
  readonly image: CollectedImage;
};

export type ImportPlan = {
  readonly images: readonly PlannedImage[];
  /** Manifests in the layout that have no name, and nothing that they belong to. */
  readonly nameless: readonly Digest[];
};

const Index = z.object({ manifests: z.array(Descriptor) });
const NAMES = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/** `old=new` renames one image of the layout, `new` alone the only one. */
export type Renaming = { readonly from: string | undefined; readonly to: ImageReference };

/**
 * What a layout would bring in. Manifests are verified, and every blob must be there.
 * @throws Error naming what is wrong: no layout, a digest that is missing or damaged, an image without a usable name
 */
export async function planImport(layout: LayoutReader, renamings: readonly Renaming[]): Promise<ImportPlan> {
  const { manifests } = await readIndex(layout);
  const images: PlannedImage[] = [];
  const unnamed: Descriptor[] = [];
  for (const descriptor of manifests) {
    const reference = referenceOf(descriptor, { renamings, alone: manifests.length === 1 });
    if (!reference) unnamed.push(descriptor);
    else images.push({ name: nameOf(reference), reference, image: await collect(layout, descriptor) });
  }
  const nameless = await addReferrers(layout, images, unnamed);
  if (images.length === 0)
    throw new Error("no image in it has a full name such as docker.io/library/nginx:1.27: give one with --as");
  for (const { image } of images) await assertComplete(layout, image);
  return { images, nameless };
}

async function readIndex(layout: LayoutReader): Promise<z.output<typeof Index>> {
  let value: unknown;
  try {
    value = JSON.parse((await layout.index()).toString("utf8"));
  } catch (error) {
    throw new Error(`index.json cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const result = Index.safeParse(value);
  if (result.success) return result.data;
  throw new Error(`index.json is not that of an OCI image layout: ${result.error.issues[0]?.path.join(".")}`);
}

function nameOf({ registry, repository }: ImageReference): RepositoryName {
  return { registry, repository };
}

function referenceOf(
  { annotations = {} }: Descriptor,
  { renamings, alone }: { renamings: readonly Renaming[]; alone: boolean },
): ImageReference | undefined {
  const names = NAMES.flatMap((key) => annotations[key] ?? []);
  for (const { from, to } of renamings) {
    if (from === undefined ? alone : names.includes(from)) return to;
  }
  return names.map(fullReference).find((reference) => reference !== undefined);
}

/** Only with a registry: `latest` or `app:v1` say nothing of where an image is from. */
function fullReference(name: string): ImageReference | undefined {
  const reference =
    looksLikeRegistry(name.split("/", 1)[0] ?? "") && name.includes("/") ? parseImageReference(name) : undefined;
  return reference && withDefaultTag(reference);
}

/** Signatures and the like have no name of their own: they go where their subject goes. Resolves with what is left. */
async function addReferrers(layout: LayoutReader, images: PlannedImage[], unnamed: Descriptor[]): Promise<Digest[]> {
  let rest = unnamed;
  for (let before = -1; before !== rest.length && rest.length > 0; ) {
    before = rest.length;
    const next: Descriptor[] = [];
    for (const descriptor of rest) {
      const image = await collect(layout, descriptor);
      const subject = image.root.parsed.subject?.digest;
      const holders = images.filter(({ image: held }) => held.manifests.some(({ digest }) => digest === subject));
      if (subject === undefined || holders.length === 0) next.push(descriptor);
      for (const name of new Map(holders.map((each) => [printImageReference(each.name), each.name])).values()) {
        images.push({ name, reference: undefined, image });
      }
    }
    rest = next;
  }
  return rest.map(({ digest }) => digest);
}

async function collect(layout: LayoutReader, { digest, mediaType }: Descriptor): Promise<CollectedImage> {
  const bytes = await readManifest(layout, digest);
  if (!bytes) throw new DamagedError(digest, "the manifest is not in the archive");
  return collectImage({ digest, mediaType, bytes }, { load: (child) => readManifest(layout, child.digest) });
}

async function readManifest(layout: LayoutReader, digest: Digest): Promise<Buffer | undefined> {
  const size = await layout.size(digest);
  return size === undefined ? undefined : bytesOf(verified(layout.open(digest), { digest, size }), MAX_MANIFEST_BYTES);
}

async function assertComplete(layout: LayoutReader, { blobs, root }: CollectedImage): Promise<void> {
  if (blobs.length === 0 && root.parsed.manifests.length > 0) {
    throw new DamagedError(root.digest, "no manifest of this index is in the archive");
  }
  for (const { digest, size } of blobs) {
    const found = await layout.size(digest);
    if (found === undefined) throw new DamagedError(digest, "the blob is not in the archive");
    if (found !== size) throw new DamagedError(digest, `the blob has ${found} bytes instead of ${size}`);
  }
}
