import type { Descriptor } from "@cache-registry/core/descriptor";
import type { Digest } from "@cache-registry/core/digest";
import { printImageReference } from "@cache-registry/core/image-reference";
import { HttpRefusal } from "../remote/http-client.ts";
import type { ContentClient } from "./content-client.ts";
import type { ImportPlan, PlannedImage } from "./import-plan.ts";
import type { LayoutReader } from "./layout.ts";
import { verified } from "./verified.ts";

export type ImportDeps = {
  readonly layout: LayoutReader;
  readonly content: ContentClient;
  readonly owner: string;
  readonly signal: AbortSignal;
  /** Bytes so far of `total`. */
  readonly onProgress: (phase: "verified" | "imported", done: number, total: number) => void;
};

/**
 * Verifies every blob of the plan before the first one is sent, so that a damaged archive changes nothing; then sends what
 * the registry lacks, children first, and pins. Done again after an interruption, it sends the rest.
 * @throws DamagedError naming the digest, HttpRefusal
 */
export async function importImages(plan: ImportPlan, deps: ImportDeps): Promise<readonly string[]> {
  const { onProgress, signal } = deps;
  const blobs = new Map<Digest, Descriptor>();
  for (const { image } of plan.images) for (const blob of image.blobs) blobs.set(blob.digest, blob);
  const total = [...blobs.values()].reduce((sum, { size }) => sum + size, 0);

  let done = 0;
  for (const blob of blobs.values()) {
    for await (const chunk of verified(deps.layout.open(blob.digest), blob)) {
      signal.throwIfAborted();
      done += chunk.length;
      onProgress("verified", done, total);
    }
  }

  const sent = new Set<Digest>();
  const imported: string[] = [];
  done = 0;
  for (const planned of plan.images) {
    await importImage(planned, deps, ({ digest, size }) => {
      done += sent.has(digest) ? 0 : size;
      sent.add(digest);
      onProgress("imported", done, total);
    });
    if (planned.reference) imported.push(printImageReference(planned.reference));
  }
  return imported;
}

async function importImage(planned: PlannedImage, deps: ImportDeps, onBlob: (blob: Descriptor) => void): Promise<void> {
  const { content, owner, signal } = deps;
  const { name, reference, image } = planned;
  await sendBlobs(planned, deps, onBlob);
  for (const manifest of image.manifests) {
    signal.throwIfAborted();
    const tags = manifest === image.root && reference?.tag !== undefined ? [reference.tag] : [];
    await content.putManifest(name, manifest, tags).catch(async (error: unknown) => {
      if (!(error instanceof HttpRefusal && error.status === 404)) throw error;
      // It took longer than the collector waits for a manifest: what it took is sent again.
      await sendBlobs(planned, deps, onBlob);
      await content.putManifest(name, manifest, tags);
    });
  }
  if (reference) await content.pin(printImageReference(reference), owner);
}

async function sendBlobs(
  { name, image }: PlannedImage,
  { layout, content, signal }: ImportDeps,
  onBlob: (blob: Descriptor) => void,
): Promise<void> {
  for (const blob of image.blobs) {
    signal.throwIfAborted();
    if (!(await content.hasBlob(name, blob.digest))) {
      await content.putBlob(name, blob, verified(layout.open(blob.digest), blob));
    }
    onBlob(blob);
  }
}
