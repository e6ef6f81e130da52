/** Why something is in the review queue, for people who look into the database. */
export type ReviewEvent =
  | "blob_linked"
  | "blob_unlinked"
  | "deleting"
  | "manifest_put"
  | "manifest_deleted"
  | "subject_deleted"
  | "tag_moved"
  | "tag_deleted"
  | "image_released"
  | "unused"
  | "evicted"
  | "sweep"
  | "postponed";

/** A manifest lost a reference. */
export type Loss = {
  readonly event: ReviewEvent;
  /** Since when nothing refers to the manifest. */
  readonly at: number;
  readonly reviewAt: number;
};

/** What to do with all that a removed manifest held. */
export type Removal = {
  readonly event: ReviewEvent;
  /** Since when its child manifests and referrers count as unreferenced, when nothing else holds them. */
  readonly unreferencedAt: number;
  readonly reviewAt: number;
};

/** Blobs belong to no repository; their rows in the queue carry this id. */
export const NO_REPOSITORY = 0;
