import type { Descriptor } from "@cache-registry/core/descriptor";
import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import {
  type ImageReference,
  manifestReferenceOf,
  printImageReference,
  withDefaultTag,
} from "@cache-registry/core/image-reference";
import { MEDIA_TYPES } from "@cache-registry/core/media-type";
import type { Platform } from "@cache-registry/core/platform";
import { HttpRefusal } from "../remote/http-client.ts";
import { type CollectedImage, type CollectedManifest, collectImage } from "./collect-image.ts";
import type { LayoutWriter } from "./layout.ts";
import type { FetchedManifest, RegistrySource, RepositoryName } from "./registry-source.ts";

export type ExportDeps = {
  readonly source: RegistrySource;
  readonly layout: LayoutWriter;
  readonly platforms: readonly Platform[];
  /** Also what refers to the manifests: signatures, attestations, SBOMs. */
  readonly referrers: boolean;
  /** Of an index only the children for which this is true. */
  readonly isHeld?: ((name: RepositoryName, digest: Digest) => Promise<boolean>) | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ExportProgress) => void;
};

/** Bytes written, and bytes that were there from an earlier run. */
export type ExportProgress = { readonly image: string; readonly written: number; readonly found: number };

export type ExportReport = {
  readonly exported: readonly string[];
  readonly failed: readonly { readonly image: string; readonly reason: string }[];
};

/** How containerd, and how every other tool, finds the name of an image in a layout. */
const NAMES = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const SIGNATURE_TAGS = ["sig", "att", "sbom"];
const SIGNATURE_TAG = /^sha(?:256|512)-[a-f0-9]+\.(?:sig|att|sbom)$/;
const ATTEMPTS = 3;

/** Writes images into a layout. What fails is left out and named; the rest makes a layout all the same. */
export async function exportImages(images: AsyncIterable<ImageReference>, deps: ExportDeps): Promise<ExportReport> {
  const { source, layout, signal } = deps;
  const entries = new Map<string, object>();
  const exported: string[] = [];
  const failed: { image: string; reason: string }[] = [];
  let [written, found] = [0, 0];

  async function put(
    { digest, size }: Pick<Descriptor, "digest" | "size">,
    open: () => Promise<AsyncIterable<Uint8Array>>,
  ) {
    signal.throwIfAborted();
    if (layout.has(digest)) {
      found += size;
      return;
    }
    for (let attempt = 1; ; attempt += 1) {
      try {
        await layout.write({ digest, size }, stoppable(await open(), signal));
        written += size;
        return;
      } catch (error) {
        if (signal.aborted || attempt === ATTEMPTS || error instanceof HttpRefusal) throw error;
      }
    }
  }

  async function collect(name: RepositoryName, root: FetchedManifest): Promise<CollectedImage> {
    return collectImage(root, {
      platforms: deps.platforms,
      async load({ digest }) {
        if (deps.isHeld && !(await deps.isHeld(name, digest))) return undefined;
        return (await source.manifest(name, digest)).bytes;
      },
    });
  }

  async function write(name: RepositoryName, image: CollectedImage, label: string): Promise<void> {
    for (const blob of image.blobs) {
      await put(blob, () => source.blob(name, blob.digest));
      deps.onProgress({ image: label, written, found });
    }
    for (const { digest, bytes } of image.manifests) {
      await put({ digest, size: bytes.length }, async () => inOne(bytes));
    }
  }

  /** Referrers have referrers: a signature of an SBOM. */
  async function writeReferrers(name: RepositoryName, manifests: readonly CollectedManifest[], label: string) {
    for (const { digest } of manifests) {
      for (const referrer of await source.referrers(name, digest)) {
        if (entries.has(referrer)) continue;
        const image = await collect(name, await source.manifest(name, referrer));
        await write(name, image, label);
        entries.set(referrer, descriptorOf(image.root));
        await writeReferrers(name, image.manifests, label);
      }
    }
  }

  /** Before the referrers API there was a convention of cosign's: a tag beside the image, made of its digest. */
  async function writeSignatureTags({ registry, repository }: RepositoryName, manifests: readonly CollectedManifest[]) {
    for (const { digest } of manifests) {
      for (const kind of SIGNATURE_TAGS) {
        const signature = { registry, repository, tag: `${digest.replace(":", "-")}.${kind}` };
        await one(signature, printImageReference(signature)).catch((error: unknown) => {
          if (!(error instanceof HttpRefusal && error.status === 404)) throw error;
        });
      }
    }
  }

  async function one(reference: ImageReference, label: string): Promise<void> {
    const { registry, repository } = reference;
    const name = { registry, repository };
    const image = await collect(name, await source.manifest(name, manifestReferenceOf(reference)));
    if (image.blobs.length === 0 && image.root.parsed.manifests.length > 0) {
      throw new Error("the image offers none of the platforms that are asked for or held");
    }
    await write(name, image, label);
    if (deps.referrers && !SIGNATURE_TAG.test(reference.tag ?? "")) {
      await writeReferrers(name, image.manifests, label);
      await writeSignatureTags(name, image.manifests);
    }
    entries.set(label, {
      ...descriptorOf(image.root),
      annotations: Object.fromEntries(NAMES.map((key) => [key, label])),
    });
  }

  for await (const reference of images) {
    const label = printImageReference(withDefaultTag(reference));
    if (entries.has(label)) continue;
    try {
      await one(reference, label);
      exported.push(label);
    } catch (error) {
      signal.throwIfAborted();
      failed.push({ image: label, reason: messageOf(error) });
    }
  }
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [...entries.values()] };
  await layout.finish(Buffer.from(`${JSON.stringify(index)}\n`));
  return { exported, failed };
}

function descriptorOf({ digest, mediaType, bytes, parsed }: CollectedManifest): object {
  const { artifactType } = parsed;
  return { mediaType, digest, size: bytes.length, ...(parsed.subject && artifactType ? { artifactType } : {}) };
}

async function* inOne(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

async function* stoppable(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}
