import { filePath, section } from "@cache-registry/runtime/config-types";
import { Secret } from "@cache-registry/runtime/secret";
import { z } from "zod";
import { CONNECTION_URL_HINT, parseConnectionUrl } from "./postgres/connection-url.ts";

const postgresSchema = z.strictObject({
  url: z
    .string()
    .refine((text) => parseConnectionUrl(text) !== undefined, { error: `expected ${CONNECTION_URL_HINT}` })
    .transform((text) => new Secret(text))
    .meta({ allowed: CONNECTION_URL_HINT })
    .optional()
    .describe("Where the database is; prefer urlFile when it holds a password."),
  urlFile: filePath().optional().describe("File with the URL, read anew for each connection"),
  caFile: filePath()
    .optional()
    .describe(
      "Certificates that the server's must lead to, PEM; sslmode is verify-full then unless the URL says otherwise",
    ),
  connections: z
    .int()
    .min(2, { error: "expected a number from 2 to 200" })
    .max(200, { error: "expected a number from 2 to 200" })
    .default(12)
    .meta({ allowed: "a number from 2 to 200" })
    .describe("Most connections of one replica at the same time"),
});

/** `storage.metadata`: which driver keeps what the registry knows about its bytes, and where. */
export const metadataStoreConfig = section({
  driver: z
    .enum(["sqlite", "postgres"])
    .default("sqlite")
    .describe("Where repositories, tags and links are kept. `postgres` is for several replicas."),
  sqlite: section({
    path: filePath("./data/metadata.db").describe("Database file, on a local file system; used by one process only."),
  }),
  postgres: postgresSchema.optional(),
}).superRefine(({ driver, postgres }, context) => {
  if ((postgres?.url === undefined) === (postgres?.urlFile === undefined) && (postgres || driver === "postgres")) {
    const message = "the driver postgres needs url or urlFile, and not both";
    context.addIssue({ code: "custom", path: ["postgres", "url"], message });
  }
});
export type MetadataStoreConfig = z.output<typeof metadataStoreConfig>;
