import { describe } from "vitest";
import { blobHolderConformance } from "./conformance/blob-holders.ts";
import { blobConformance } from "./conformance/blobs.ts";
import { cachedCollectionConformance } from "./conformance/cached-collection.ts";
import { evictionConformance } from "./conformance/eviction.ts";
import type { OpenStore } from "./conformance/fixtures.ts";
import { imageConformance } from "./conformance/images.ts";
import { pushedCollectionConformance } from "./conformance/pushed-collection.ts";
import { raceConformance } from "./conformance/races.ts";
import { referrersConformance } from "./conformance/referrers.ts";
import { repositoryConformance } from "./conformance/repositories.ts";
import { reviewQueueConformance } from "./conformance/review-queue.ts";
import { uploadConformance } from "./conformance/uploads.ts";

/** The contract of the port, run against every driver. */
export function metadataStoreConformance(driver: string, open: OpenStore): void {
  describe(`metadata store: ${driver}`, () => {
    repositoryConformance(open);
    referrersConformance(open);
    blobConformance(open);
    blobHolderConformance(open);
    uploadConformance(open);
    imageConformance(open);
    cachedCollectionConformance(open);
    pushedCollectionConformance(open);
    reviewQueueConformance(open);
    evictionConformance(open);
    raceConformance(open);
  });
}
