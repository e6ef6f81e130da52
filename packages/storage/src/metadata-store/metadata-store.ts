import type { Digest } from "@cache-registry/core/digest";
import type { EvictionStore } from "./eviction-store.ts";
import type { Pull } from "./pull.ts";

/**
 * What the registry knows about its bytes: repositories, manifests, tags, links, upload sessions, owners and what is to be
 * reviewed for collection. Times are milliseconds since the epoch and are passed in. Every method is one transaction.
 * Writes resolve when they would survive a power cut.
 */
export interface MetadataStore
  extends RepositoryStore,
    BlobLinkStore,
    UploadStore,
    ImageStore,
    ReviewStore,
    EvictionStore {
  /** Resolves when it can be used. @throws the signal's reason, should it be told to give up waiting */
  start(signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/**
 * Key of a repository. Local: the repository name. Of an upstream: `<registry>/<repository>`, e.g.
 * `docker.io/library/nginx`, `harbor.local:5000/team/app`. `upstream` is that registry, null for local ones.
 */
export type RepositoryKey = { readonly name: string; readonly upstream: string | null };

export type ManifestRecord = {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes of the manifest document. */
  readonly size: number;
  readonly subject: Digest | null;
  readonly artifactType: string | null;
  readonly annotations: Readonly<Record<string, string>>;
};

/** What a manifest keeps alive. `size` as the descriptor states it, in bytes. */
export type ManifestReference = {
  readonly digest: Digest;
  readonly kind: "blob" | "manifest";
  readonly size: number;
  /** May be missing on a push, and is kept alive once it is there: children of sparse indexes, non-distributable layers. */
  readonly optional?: boolean;
};

export type PutManifest = {
  readonly repository: RepositoryKey;
  readonly manifest: ManifestRecord;
  readonly references: readonly ManifestReference[];
  /** Tags to point at the manifest in the same transaction; a moved tag makes the old manifest a candidate for review. */
  readonly tags: readonly string[];
  /**
   * Pushes: every referenced blob must be linked in this repository and every referenced manifest be in it, but for the
   * optional ones, else nothing is written and the missing digests are returned. Pull-through: false (children come when
   * asked for).
   */
  readonly requireReferences: boolean;
  readonly now: number;
};

export type TagRecord = {
  readonly name: string;
  readonly digest: Digest;
  /** When upstream last confirmed the digest; for local repositories when the tag was set. */
  readonly checkedAt: number;
  /** Since when upstream could not confirm it, null when it could. */
  readonly staleSince: number | null;
};

/** Lexical order, strictly after `last`, at most `limit`. */
export type Page = { readonly last?: string; readonly limit: number };

export interface RepositoryStore {
  /** Does it hold anything, a manifest or a linked blob? */
  hasRepository(name: string): Promise<boolean>;
  /** Repositories that hold at least one manifest. */
  listRepositories(page: Page): Promise<RepositoryKey[]>;
  /**
   * Also links the manifest's own bytes as a blob of the repository (call it under the digest lock, with the commit of
   * the bytes). @throws CodedError DENIED when the repository's name belongs to another origin
   */
  putManifest(put: PutManifest): Promise<{ readonly missing: readonly Digest[] }>;
  manifest(repository: string, digest: Digest): Promise<ManifestRecord | undefined>;
  /** What the manifest points to, in the order of its document; `optional` is not told. */
  references(repository: string, digest: Digest): Promise<ManifestReference[]>;
  /** Manifests of the repository whose subject this is, be it there or not, by digest (`last` is one). */
  referrers(
    repository: string,
    subject: Digest,
    page: Page & { readonly artifactType?: string },
  ): Promise<ManifestRecord[]>;
  /**
   * What an upstream answered about the referrers of a manifest: kept beside that manifest, and gone with it; false when
   * the repository does not hold it. `document` is text that the store does not look into.
   */
  putReferrersAnswer(
    repository: string,
    subject: Digest,
    answer: { readonly document: string; readonly checkedAt: number },
  ): Promise<boolean>;
  referrersAnswer(
    repository: string,
    subject: Digest,
  ): Promise<{ readonly document: string; readonly checkedAt: number } | undefined>;
  /** Removes the manifest and every tag on it. False when it was not there. */
  deleteManifest(repository: string, digest: Digest, now: number): Promise<boolean>;
  tag(repository: string, name: string): Promise<TagRecord | undefined>;
  listTags(repository: string, page: Page): Promise<string[]>;
  /** Upstream confirmed (`staleSince: null`) or could not confirm the tag. Absent tags are ignored. */
  markTag(
    repository: string,
    name: string,
    state: { readonly checkedAt?: number; readonly staleSince: number | null },
  ): Promise<void>;
  /** False when it was not there. The manifest becomes a candidate for review. */
  deleteTag(repository: string, name: string, now: number): Promise<boolean>;
  /** Last pulls, batched by the caller (no write per read). */
  recordPulls(pulls: readonly Pull[]): Promise<void>;
  /** Milliseconds of the last recorded pull of a manifest in the repository, null when never. */
  lastPulledAt(repository: string, digest: Digest): Promise<number | null>;
}

export type BlobRecord = { readonly digest: Digest; readonly size: number; readonly generation: number };

/** A repository that links a blob, and (at most ten of) its tags whose images consist of it, among others, in order. */
export type BlobHolder = { readonly repository: RepositoryKey; readonly tags: readonly string[] };

/** A blob is readable only through a repository that links it. Blobs in state `deleting` are absent everywhere here. */
export interface BlobLinkStore {
  blob(digest: Digest): Promise<BlobRecord | undefined>;
  isLinked(repository: string, digest: Digest): Promise<boolean>;
  /** Live blobs in the order of their digests, for maintenance. */
  listBlobs(page: Page): Promise<BlobRecord[]>;
  /** Who would miss the blob, at most 100, by name of the repository: looks up through every index that leads to it. */
  blobHolders(digest: Digest): Promise<BlobHolder[]>;
  /** Some repository that links the blob (for anonymous mounts), of those that `upstream` null (local) allows. */
  findLocalLink(digest: Digest): Promise<string | undefined>;
  /**
   * The bytes are in place: the blob is live (a new generation when it was `deleting` or absent) and linked. Also used to
   * link a live blob again (mount); returns false when `size` is undefined and the blob is not live.
   * @throws CodedError DENIED when the repository's name belongs to another origin
   */
  linkBlob(link: {
    readonly repository: RepositoryKey;
    readonly digest: Digest;
    readonly size?: number;
    readonly now: number;
  }): Promise<boolean>;
  /** False when the link was not there. */
  unlinkBlob(repository: string, digest: Digest, now: number): Promise<boolean>;
  /** A client asked whether the blob is there and will count on it: postpones its review by the grace. Batched by the caller. */
  touchBlobs(
    touches: readonly { readonly repository: string; readonly digest: Digest; readonly at: number }[],
  ): Promise<void>;
  /**
   * Bytes are gone although the row says otherwise: forget row and links, so that the content is fetched again. Only under
   * the digest lock and after a `stat` there: bytes committed a moment ago would lose their links.
   */
  forgetBlob(digest: Digest): Promise<void>;
  /** Sum and count of live blobs, for stats and the quota; kept by the driver, never a scan. */
  usage(): Promise<{
    readonly blobs: number;
    readonly bytes: number;
    /** Of `bytes`, those that no local repository links: what the quota is about. */
    readonly cachedBytes: number;
    readonly manifests: number;
    readonly repositories: number;
  }>;
}

export type UploadRecord = {
  readonly id: string;
  readonly repository: string;
  readonly startedAt: number;
  readonly touchedAt: number;
};

/** Sessions need not survive a crash: one that is lost is unknown, and its client begins anew. */
export interface UploadStore {
  createUpload(upload: UploadRecord): Promise<void>;
  upload(id: string): Promise<UploadRecord | undefined>;
  touchUpload(id: string, now: number): Promise<void>;
  /** False when it was not there. */
  deleteUpload(id: string): Promise<boolean>;
  /** Sessions not touched since `before`. */
  idleUploads(before: number, limit: number): Promise<UploadRecord[]>;
}

/** End of a pin that no time ends, of what was imported: no upstream could give it again. 9999-12-31, in milliseconds. */
export const PINNED_FOR_EVER = Date.UTC(9999, 11, 31);

/** An image that an owner (a cluster's controllers, an import) wants held. `reference` is normalised text. */
export type ImageRecord = {
  readonly reference: string;
  readonly owners: readonly string[];
  /** End of the longest lease of any owner, null without a pin. */
  readonly pinnedUntil: number | null;
  readonly platforms: readonly string[];
};

export interface ImageStore {
  /** Adds or renews the owner's reference. `pinnedUntil` undefined leaves an existing lease as it is. */
  putImage(put: {
    readonly reference: string;
    readonly owner: string;
    readonly pinnedUntil?: number;
    readonly platforms: readonly string[];
    readonly now: number;
  }): Promise<void>;
  image(reference: string): Promise<ImageRecord | undefined>;
  listImages(page: Page & { readonly owner?: string }): Promise<ImageRecord[]>;
  /**
   * Drops the owner's reference and pin. When it was the last one, `target` goes too: a tag is deleted, so that its
   * manifest becomes a candidate for review after the grace; a digest only loses the pin and becomes a candidate. The tag
   * of a local repository stays: it was pushed.
   * False when the owner held no such reference.
   */
  releaseImage(release: {
    readonly reference: string;
    readonly owner: string;
    readonly target: { readonly repository: string; readonly tag?: string; readonly digest?: Digest };
    readonly now: number;
  }): Promise<boolean>;
}

export type ReviewRules = {
  readonly now: number;
  /** How long content that nothing refers to is left alone, in milliseconds. */
  readonly grace: number;
  /** Untagged manifests of local repositories: `keep`, or delete when untagged for this many milliseconds. */
  readonly untaggedLocal: "keep" | number;
  /** Cached content that nobody owns and nobody pulled for this many milliseconds goes. */
  readonly unusedFor: number;
  /** `grace` for the links of upstream repositories, in milliseconds, when space is needed at once; default: `grace`. */
  readonly cachedGrace?: number;
};

/**
 * One row of the review queue. The queue is a hint; the truth is re-checked in the deciding transaction. `reason` is the
 * event that queued it, for reports: a word such as `tag_deleted`.
 */
export type ReviewTask = { readonly reason: string } & (
  | { readonly kind: "manifest"; readonly repository: string; readonly digest: Digest }
  | { readonly kind: "blob"; readonly digest: Digest }
);

/** Something that a collection would take. `size` in bytes, of blobs; manifests count as the blobs that they are. */
export type DoomedContent =
  | { readonly kind: "tag"; readonly repository: string; readonly tag: string; readonly reason: string }
  | { readonly kind: "manifest"; readonly repository: string; readonly digest: Digest; readonly reason: string }
  | { readonly kind: "blob"; readonly digest: Digest; readonly size: number; readonly reason: string };

export interface ReviewStore {
  /** Tasks that are due, oldest first. */
  dueReviews(now: number, limit: number): Promise<ReviewTask[]>;
  /** A review that failed: it comes again at `until`, so that it is not in the way of the others. Absent tasks are ignored. */
  postponeReview(task: ReviewTask, until: number): Promise<void>;
  /** Milliseconds of the next review, null with an empty queue; and its length, for the backlog metric. */
  reviewBacklog(): Promise<{ readonly nextAt: number | null; readonly length: number }>;
  /**
   * Decide about a manifest. Needed: a tag, a parent index in the repository, an image pin or owner by digest, a live
   * subject; or `untaggedLocal` keeps it; or (of an upstream) it was pulled after it lost its last reference, or never
   * had one, and was pulled within `unusedFor`. Not needed and older than the grace: removed with its references, whose
   * digests are queued in turn. Otherwise the task is postponed or dropped. `kept` also when the manifest is not there.
   * A local manifest whose subject was there and went follows it after the grace, whatever `untaggedLocal` says.
   */
  reviewManifest(
    task: { readonly repository: string; readonly digest: Digest },
    rules: ReviewRules,
  ): Promise<"removed" | "kept" | "postponed">;
  /**
   * Phase one of deleting a blob: links that no manifest of their repository backs and that are older than the grace go;
   * when no link is left the blob is `deleting`: absent for everyone from here on. Returns its generation then, and again
   * until the deletion is finished or the blob is live again; its task stays due as long.
   */
  beginBlobDeletion(digest: Digest, rules: ReviewRules): Promise<BlobRecord | undefined>;
  /** Phase two, after the bytes are gone. Only the generation that was begun is removed. */
  finishBlobDeletion(digest: Digest, generation: number): Promise<void>;
  /** Rows left `deleting` by a crash; the caller removes the bytes and finishes. */
  deletingBlobs(limit: number): Promise<BlobRecord[]>;
  /**
   * The full pass, one page at a time: queues every manifest and blob that no live reference protects, and drops tags of
   * upstream repositories that nobody owns and nobody pulled for `unusedFor`. Returns the cursor of the next page, null at the end.
   */
  sweep(cursor: string | null, rules: ReviewRules, limit: number): Promise<string | null>;
  /**
   * What a full pass would do now, exactly, and nothing of it done: the pass runs in a transaction that is rolled back. It
   * holds up other writes meanwhile and gives up after two seconds; `truncated` then, and with more than `limit` things.
   */
  previewCollection(
    rules: ReviewRules,
    limit: number,
  ): Promise<{ readonly doomed: readonly DoomedContent[]; readonly truncated: boolean }>;
}
