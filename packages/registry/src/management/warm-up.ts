import { type Digest, isDigest } from "@cache-registry/core/digest";
import { CodedError, isCodedError, messageOf } from "@cache-registry/core/errors";
import { type ImageReference, manifestReferenceOf } from "@cache-registry/core/image-reference";
import type { Platform } from "@cache-registry/core/platform";
import { createLimiter } from "@cache-registry/runtime/limiter";
import type { Logger } from "@cache-registry/runtime/logger";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { ManifestDocuments } from "../content/manifest-documents.ts";
import { type UpstreamRepository, upstreamRepository } from "../content/repository.ts";
import type { BlobSource } from "../pull-through/blob-source.ts";
import type { ManifestSource } from "../pull-through/manifest-source.ts";
import { StoreFailure } from "../pull-through/receive-blob.ts";
import type { Warming } from "../replicas/warming.ts";
import type { Space } from "../space/space.ts";
import { closureOf, type LoadManifest } from "./image-closure.ts";
import type { WarmUpGate } from "./warm-up-gate.ts";

/** Images, and blobs of one image, that are warmed at once: the pulls of running pods go first. */
const CONCURRENT_IMAGES = 3;
const CONCURRENT_BLOBS = 4;
const MAX_REMEMBERED_ERRORS = 10_000;

/** Fetches whole images in the background. One run per reference; asking again joins it. */
export type WarmUp = {
  start(reference: ImageReference, key: string, platforms: readonly Platform[]): void;
  isRunning(key: string): boolean;
  /** Why it does not begin yet: the upstream's limit is kept for pods. */
  waitsFor(key: string): string | undefined;
  /** Why the last run failed, or what is here could not be confirmed; gone when a new one starts. */
  lastFailure(key: string): WarmUpFailure | undefined;
  /** Starts nothing more; what is under way ends with the process and begins anew when it is asked for. */
  stop(): void;
};

/** `NoSpace`: the image does not fit beside what is pinned; asked for again, it is tried again. */
export type WarmUpFailure = { readonly message: string; readonly reason?: "NoSpace" };

export type WarmUpDeps = {
  readonly metadata: Pick<MetadataStore, "blob">;
  readonly manifests: ManifestSource;
  readonly documents: ManifestDocuments;
  readonly blobs: BlobSource;
  readonly gate: WarmUpGate;
  readonly space: Pick<Space, "admit">;
  /** With many replicas. */
  readonly warming?: Warming | undefined;
  readonly logger: Logger;
};

export function createWarmUp(deps: WarmUpDeps): WarmUp {
  const { metadata, manifests, documents, blobs, gate, space, logger } = deps;
  const images = createLimiter(CONCURRENT_IMAGES);
  const running = new Set<string>();
  const waiting = new Map<string, string>();
  const errors = new Map<string, WarmUpFailure>();
  const stopping = new AbortController();

  /** Says why the upstream could not confirm what is here, if so. */
  async function warm(reference: ImageReference, platforms: readonly Platform[]): Promise<string | undefined> {
    const repository = upstreamRepository(reference.registry, reference.repository);
    const wanted = manifestReferenceOf(reference);
    const root = await (isDigest(wanted)
      ? manifests.byDigest(repository, wanted, "background")
      : manifests.byTag(repository, wanted, "background"));
    const load: LoadManifest = async (digest) => {
      const { record, bytes } = await manifests.byDigest(repository, digest, "background");
      if (bytes) throw new CodedError("INSUFFICIENT_STORAGE", "the registry cannot store the image");
      return { record, bytes: await documents.load(record.digest) };
    };
    const closure = await closureOf(root.record.digest, platforms, load);
    const missing = new Map<Digest, number>();
    for (const { digest, size } of closure?.blobs ?? []) {
      if (!(await metadata.blob(digest))) missing.set(digest, size);
    }
    const room = await space.admit([...missing.values()].reduce((sum, size) => sum + size, 0));
    const slots = createLimiter(CONCURRENT_BLOBS);
    const fetchOne = async (digest: Digest): Promise<void> => {
      await fetchBlob(repository, digest);
      room.arrived(missing.get(digest) ?? 0);
    };
    try {
      await Promise.all((closure?.blobs ?? []).map(({ digest }) => slots.run(() => fetchOne(digest))));
    } finally {
      room.release();
    }
    return root.staleBecause;
  }

  async function fetchBlob(repository: UpstreamRepository, digest: Digest): Promise<void> {
    stopping.signal.throwIfAborted();
    const location = await blobs.locate(repository, digest, "background");
    if (location.kind === "fetching") await location.fetch.finished;
  }

  /** Undefined when it must wait for the upstream again, without holding a place meanwhile. */
  async function warmUnlessHeld(
    reference: ImageReference,
    key: string,
    platforms: readonly Platform[],
  ): Promise<{ readonly stale: string | undefined } | undefined> {
    if (gate.closed(reference.registry)) return undefined;
    const end = await deps.warming?.begin(key);
    try {
      return { stale: await warm(reference, platforms) };
    } finally {
      await end?.();
    }
  }

  async function warmWhenAllowed(
    reference: ImageReference,
    key: string,
    platforms: readonly Platform[],
  ): Promise<string | undefined> {
    const { signal } = stopping;
    for (;;) {
      await gate.open(reference, { signal, onWait: (reason) => waiting.set(key, reason) });
      waiting.delete(key);
      const done = await images.run(() => warmUnlessHeld(reference, key, platforms), {
        signal,
        priority: "background",
      });
      if (done) return done.stale;
    }
  }

  function note(key: string, failure: WarmUpFailure): void {
    if (errors.size >= MAX_REMEMBERED_ERRORS) errors.clear();
    errors.set(key, failure);
  }

  async function run(reference: ImageReference, key: string, platforms: readonly Platform[]): Promise<void> {
    try {
      const stale = await warmWhenAllowed(reference, key, platforms);
      if (stale !== undefined) note(key, { message: stale });
      else logger.info({ image: key }, "image warmed");
    } catch (error) {
      note(key, failureOf(error));
      logger.warn({ image: key, err: error }, "warm-up failed");
    } finally {
      running.delete(key);
      waiting.delete(key);
    }
  }

  return {
    start(reference, key, platforms) {
      if (running.has(key) || stopping.signal.aborted) return;
      errors.delete(key);
      running.add(key);
      void run(reference, key, platforms);
    },
    isRunning: (key) => running.has(key),
    waitsFor: (key) => waiting.get(key),
    lastFailure: (key) => errors.get(key),
    stop() {
      stopping.abort(new Error("the registry is stopping"));
    },
  };
}

function failureOf(error: unknown): WarmUpFailure {
  const cause = error instanceof StoreFailure ? error.cause : error;
  const full = isCodedError(cause) && cause.code === "INSUFFICIENT_STORAGE";
  return { message: messageOf(cause), ...(full ? { reason: "NoSpace" } : {}) };
}
