import { createHash } from "node:crypto";
import { type Digest, digestOf } from "@cache-registry/core/digest";
import type { ManifestReference, MetadataStore, PutManifest, RepositoryKey, ReviewRules } from "../metadata-store.ts";

/** Gives a fresh, started, empty store that queues reviews `GRACE` after their event. */
export type OpenStore = () => Promise<MetadataStore>;

/** Times in the suite: small whole numbers, so that every boundary can be hit exactly. */
export const GRACE = 1_000;
export const UNUSED_FOR = 100_000;

export const LOCAL: RepositoryKey = { name: "team/app", upstream: null };
export const OTHER: RepositoryKey = { name: "team/other", upstream: null };
export const CACHED: RepositoryKey = { name: "docker.io/library/nginx", upstream: "docker.io" };

/** `usage()` of a store that holds nothing. */
export const NOTHING = { blobs: 0, bytes: 0, cachedBytes: 0, manifests: 0, repositories: 0 };

export function digest(name: string): Digest {
  return digestOf("sha256", createHash("sha256").update(name).digest("hex"));
}

export function rulesAt(now: number, rules: Partial<ReviewRules> = {}): ReviewRules {
  return { now, grace: GRACE, untaggedLocal: "keep", unusedFor: UNUSED_FOR, ...rules };
}

export const blobRef = (name: string): ManifestReference => ({ digest: digest(name), kind: "blob", size: 10 });
export const manifestRef = (name: string): ManifestReference => ({ digest: digest(name), kind: "manifest", size: 20 });

type Put = Partial<Omit<PutManifest, "manifest" | "repository">> & {
  readonly repository?: RepositoryKey;
  readonly subject?: string;
};

/** Puts the manifest called `name`, 100 bytes, of the cached repository unless said otherwise, without its references' check. */
export function putManifest(
  store: MetadataStore,
  name: string,
  put: Put = {},
): ReturnType<MetadataStore["putManifest"]> {
  const { repository = CACHED, subject, ...rest } = put;
  return store.putManifest({
    repository,
    manifest: {
      digest: digest(name),
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      size: 100,
      subject: subject === undefined ? null : digest(subject),
      artifactType: null,
      annotations: {},
    },
    references: [],
    tags: [],
    requireReferences: false,
    now: 0,
    ...rest,
  });
}

/** Links the blob called `name`, 10 bytes. */
export function linkBlob(store: MetadataStore, name: string, repository = CACHED, now = 0): Promise<boolean> {
  return store.linkBlob({ repository, digest: digest(name), size: 10, now });
}

/** A manifest as `collect` names it. */
export const idOf = (name: string, repository = CACHED): string => `${repository.name}@${digest(name)}`;

/** What the registry's collector does, until nothing is due at `rules.now`. Names what went, in order. */
export async function collect(store: MetadataStore, rules: ReviewRules): Promise<string[]> {
  const removed: string[] = [];
  for (let round = 0; round < 100; round++) {
    const due = await store.dueReviews(rules.now, 1_000);
    if (due.length === 0) return removed;
    for (const task of due) {
      if (task.kind === "manifest") {
        if ((await store.reviewManifest(task, rules)) === "removed") removed.push(`${task.repository}@${task.digest}`);
        continue;
      }
      const blob = await store.beginBlobDeletion(task.digest, rules);
      if (!blob) continue;
      await store.finishBlobDeletion(blob.digest, blob.generation);
      removed.push(blob.digest);
    }
  }
  throw new Error("the review queue does not come to rest");
}

export async function sweepAll(store: MetadataStore, rules: ReviewRules, limit = 3): Promise<number> {
  let pages = 0;
  for (let cursor: string | null = null; ; pages++) {
    cursor = await store.sweep(cursor, rules, limit);
    if (cursor === null) return pages + 1;
  }
}
