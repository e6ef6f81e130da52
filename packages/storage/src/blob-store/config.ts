import { filePath, section } from "@cache-registry/runtime/config-types";
import { z } from "zod";

/** `storage.blobs`: which driver keeps the bytes, and where. */
export const blobStoreConfig = section({
  driver: z
    .enum(["filesystem", "memory"])
    .default("filesystem")
    .describe("Where the bytes are kept. `memory` is for trying things out: nothing survives the process."),
  filesystem: section({
    path: filePath("./data").describe("Folder of the bytes; readable as an OCI image layout."),
  }),
});
export type BlobStoreConfig = z.output<typeof blobStoreConfig>;
