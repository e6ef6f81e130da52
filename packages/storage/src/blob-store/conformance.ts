import { describe } from "vitest";
import type { OpenStore } from "./conformance/fixtures.ts";
import { readingConformance } from "./conformance/reading.ts";
import { removalConformance } from "./conformance/removal.ts";
import { uploadConformance } from "./conformance/uploads.ts";
import { writingConformance } from "./conformance/writing.ts";

/** The contract of the port, run against every driver. */
export function blobStoreConformance(driver: string, open: OpenStore): void {
  describe(`blob store: ${driver}`, () => {
    readingConformance(open);
    writingConformance(open);
    uploadConformance(open);
    removalConformance(open);
  });
}
