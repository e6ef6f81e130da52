import { filePath, section } from "@cache-registry/runtime/config-types";
import { z } from "zod";

/** `storage.metadata`: which driver keeps what the registry knows about its bytes, and where. */
export const metadataStoreConfig = section({
  driver: z.enum(["sqlite"]).default("sqlite").describe("Where repositories, tags and links are kept."),
  sqlite: section({
    path: filePath("./data/metadata.db").describe("Database file, on a local file system; used by one process only."),
  }),
});
export type MetadataStoreConfig = z.output<typeof metadataStoreConfig>;
