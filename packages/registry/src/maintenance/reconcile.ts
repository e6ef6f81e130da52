import { algorithmOf, type Digest } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES, type ParsedManifest, parseManifest } from "@cache-registry/core/manifest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { BlobMissingError, type BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { localRepository } from "../content/repository.ts";
import type { StoreManifest } from "../content/store-manifest.ts";

export type ReconcileDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly storeManifest: StoreManifest;
  /** Local repository that takes manifests nobody knows the place of; undefined: they are left to the collector. */
  readonly repository: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (done: number, what: "rows" | "blobs") => void;
};

/** Sizes in bytes. */
export type ReconcileReport = {
  /** Rows without bytes, forgotten: `lost` names what of it was pushed. */
  forgotten: number;
  readonly lost: { readonly digest: Digest; readonly images: readonly string[] }[];
  /** Manifests that no row knew, now in the repository by their digest. */
  readonly recovered: { readonly digest: Digest; readonly mediaType: string; readonly title: string | undefined }[];
  /** Bytes that neither a row nor a recovered manifest knows: the collector takes them. */
  unknown: number;
};

const PAGE = 500;
/** As much as tells whether it may be a manifest. */
const HEAD_BYTES = 512;

/**
 * Makes metadata and bytes agree again after one of them is older than the other. Every step stands for itself: after an
 * interruption it is simply done again. No registry may run.
 */
export async function reconcile(deps: ReconcileDeps): Promise<ReconcileReport> {
  const report: ReconcileReport = { forgotten: 0, lost: [], recovered: [], unknown: 0 };
  // Digests only: some 100 bytes each.
  const atRest = new Set<Digest>();
  for await (const digest of deps.blobs.list()) {
    deps.signal?.throwIfAborted();
    atRest.add(digest);
  }
  await forgetRowsWithoutBytes(deps, atRest, report);
  await recoverManifests(deps, atRest, report);
  return report;
}

async function forgetRowsWithoutBytes(deps: ReconcileDeps, atRest: ReadonlySet<Digest>, report: ReconcileReport) {
  const { metadata, signal, onProgress } = deps;
  let last = "";
  for (let done = 0; ; ) {
    const page = await metadata.listBlobs({ last, limit: PAGE });
    for (const { digest } of page) {
      signal?.throwIfAborted();
      if (atRest.has(digest)) continue;
      const holders = await metadata.blobHolders(digest);
      await metadata.forgetBlob(digest);
      report.forgotten += 1;
      const local = holders.filter(({ repository }) => repository.upstream === null);
      const images = local.flatMap(({ repository, tags }) =>
        tags.length > 0 ? tags.map((tag) => `${repository.name}:${tag}`) : [repository.name],
      );
      if (images.length > 0) report.lost.push({ digest, images });
    }
    done += page.length;
    onProgress?.(done, "rows");
    last = page.at(-1)?.digest ?? "";
    if (page.length < PAGE) return;
  }
}

async function recoverManifests(deps: ReconcileDeps, atRest: ReadonlySet<Digest>, report: ReconcileReport) {
  const { blobs, metadata, signal, onProgress } = deps;
  const unknown = new Set<Digest>();
  const manifests = new Map<Digest, { bytes: Buffer; parsed: ParsedManifest }>();
  let done = 0;
  for (const digest of atRest) {
    signal?.throwIfAborted();
    done += 1;
    onProgress?.(done, "blobs");
    if (await metadata.blob(digest)) continue;
    unknown.add(digest);
    const manifest = await manifestIn(blobs, digest);
    if (manifest) manifests.set(digest, manifest);
  }
  for (const [digest, { bytes, parsed }] of manifests) {
    if (deps.repository === undefined) break;
    signal?.throwIfAborted();
    await recover({ ...deps, repository: deps.repository }, { digest, bytes, parsed });
    for (const child of [digest, ...parsed.blobs.map((blob) => blob.digest)]) unknown.delete(child);
    const { annotations, mediaType } = parsed;
    const title = annotations["org.opencontainers.image.ref.name"] ?? annotations["org.opencontainers.image.title"];
    report.recovered.push({ digest, mediaType, title });
  }
  report.unknown = unknown.size;
}

async function recover(
  { blobs, metadata, storeManifest, repository: name }: ReconcileDeps & { readonly repository: string },
  { digest, bytes, parsed }: { digest: Digest; bytes: Buffer; parsed: ParsedManifest },
): Promise<void> {
  const repository = localRepository(name);
  for (const blob of parsed.blobs) {
    const found = await blobs.stat(blob.digest);
    if (found?.size !== blob.size) continue;
    await metadata.linkBlob({ repository, digest: blob.digest, size: blob.size, now: Date.now() });
  }
  await storeManifest({ repository, digest, bytes, parsed, tags: [], requireReferences: false });
}

/** The manifest that the bytes are, whole and as their digest says; undefined when they are something else. */
async function manifestIn(
  blobs: BlobStore,
  digest: Digest,
): Promise<{ bytes: Buffer; parsed: ParsedManifest } | undefined> {
  try {
    const { size } = (await blobs.stat(digest)) ?? { size: 0 };
    if (size < 2 || size > MAX_MANIFEST_BYTES) return undefined;
    const head = await read(blobs, digest, Math.min(size, HEAD_BYTES));
    if (!/^\s*\{/.test(head.toString("latin1"))) return undefined;
    const bytes = size <= HEAD_BYTES ? head : await read(blobs, digest, size);
    if (digestOfBytes(bytes, algorithmOf(digest)) !== digest) return undefined;
    // Configs and attestations are JSON, too.
    const { schemaVersion } = JSON.parse(bytes.toString("utf8")) as { schemaVersion?: unknown };
    return schemaVersion === 2 ? { bytes, parsed: parseManifest(bytes, undefined) } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof BlobMissingError) return undefined;
    if (error instanceof Error && "code" in error && error.code === "MANIFEST_INVALID") return undefined;
    throw error;
  }
}

async function read(blobs: BlobStore, digest: Digest, size: number): Promise<Buffer> {
  const reader = await blobs.open(digest, { start: 0, end: size - 1 });
  try {
    const bytes = Buffer.alloc(size);
    for (let filled = 0; filled < size; ) {
      const count = await reader.read(bytes.subarray(filled));
      if (count === 0) return bytes.subarray(0, filled);
      filled += count;
    }
    return bytes;
  } finally {
    await reader.close();
  }
}
