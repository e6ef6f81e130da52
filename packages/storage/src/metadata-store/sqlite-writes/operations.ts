import type { DatabaseSync } from "node:sqlite";
import type { Digest } from "@cache-registry/core/digest";
import type { MetadataStore } from "../metadata-store.ts";
import { createBlobs } from "./blobs.ts";
import { createEviction } from "./evict.ts";
import { createImages } from "./images.ts";
import { createManifests } from "./manifests.ts";
import { createPreview } from "./preview.ts";
import { createProtection } from "./protection.ts";
import { createReviewQueue } from "./queue.ts";
import { createRepositories } from "./repositories.ts";
import { createManifestReview } from "./review-manifest.ts";
import { createSweep } from "./sweep.ts";
import { createTags } from "./tags.ts";
import { createUploads } from "./uploads.ts";

/** The methods of the port that write. */
type WriteName =
  | "putManifest"
  | "putReferrersAnswer"
  | "deleteManifest"
  | "markTag"
  | "deleteTag"
  | "recordPulls"
  | "linkBlob"
  | "unlinkBlob"
  | "touchBlobs"
  | "forgetBlob"
  | "createUpload"
  | "touchUpload"
  | "deleteUpload"
  | "putImage"
  | "releaseImage"
  | "reviewManifest"
  | "postponeReview"
  | "beginBlobDeletion"
  | "finishBlobDeletion"
  | "sweep"
  | "previewCollection"
  | "evictManifest";

type Synchronous<Method> = Method extends (...args: infer Args) => Promise<infer Result>
  ? (...args: Args) => Result
  : never;

export type Operations = { readonly [Name in WriteName]: Synchronous<MetadataStore[Name]> };

/** Every write of the port as a synchronous function: runs on the writer thread, inside the writer's transaction. */
export function createOperations(db: DatabaseSync, { grace }: { readonly grace: number }): Operations {
  const queue = createReviewQueue(db);
  const repositories = createRepositories(db);
  const protection = createProtection(db, queue);
  const tags = createTags(db, protection, grace);
  const blobs = createBlobs(db, queue, grace);
  const manifests = createManifests(db, { repositories, protection, tags, blobs, queue, grace });
  const uploads = createUploads(db);
  const images = createImages(db, { repositories, protection, tags, grace });
  const reviewManifest = createManifestReview(db, { repositories, manifests, queue });

  /** The repository's id to act on; without the repository the answer is that there was nothing. */
  function within(name: string, act: (repositoryId: number) => boolean): boolean {
    const repository = repositories.find(name);
    return repository !== undefined && act(repository.id);
  }

  return {
    putManifest: (put) => manifests.put(put),
    putReferrersAnswer: (repository, subject, answer) =>
      within(repository, (id) => manifests.putReferrersAnswer(id, subject, answer)),
    deleteManifest: (repository: string, digest: Digest, now: number) =>
      within(repository, (id) =>
        manifests.remove(id, digest, { event: "manifest_deleted", unreferencedAt: now, reviewAt: now + grace }),
      ),
    markTag: (repository, name, state) => tags.mark(repository, name, state),
    deleteTag: (repository, name, now) =>
      within(repository, (id) => tags.remove(id, name, { event: "tag_deleted", now })),
    recordPulls: (pulls) => manifests.recordPulls(pulls),
    linkBlob({ repository, digest, size, now }) {
      if (size === undefined && !blobs.isLive(digest)) return false;
      const id = repositories.ensure(repository);
      blobs.link(id, size === undefined ? { digest, now } : { digest, size, now });
      return true;
    },
    unlinkBlob: (repository, digest, now) => within(repository, (id) => blobs.unlink(id, digest, now)),
    touchBlobs: (touches) => blobs.touch(touches),
    forgetBlob: (digest) => blobs.forget(digest),
    createUpload: (upload) => uploads.create(upload),
    touchUpload: (id, now) => uploads.touch(id, now),
    deleteUpload: (id) => uploads.remove(id),
    putImage: (put) => images.put(put),
    releaseImage: (release) => images.release(release),
    reviewManifest,
    postponeReview: (task, until) => queue.later(task, until),
    beginBlobDeletion: (digest, rules) => blobs.beginDeletion(digest, rules),
    finishBlobDeletion: (digest, generation) => blobs.finishDeletion(digest, generation),
    sweep: createSweep(db, { tags, queue }),
    previewCollection: createPreview(db, { tags, queue, blobs, reviewManifest }),
    evictManifest: createEviction(db, manifests),
  };
}
