import { filePath, httpUrl, section } from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { azureSchema } from "./azure/config.ts";
import { gcsSchema } from "./gcs/config.ts";
import { s3Schema } from "./s3/config.ts";

const REDIRECT_HINT = "`false`, `presigned`, or an http:// or https:// URL";
const redirectSchema = z
  .union([z.literal(false), z.literal("presigned"), httpUrl()], {
    error: "expected false, presigned or a base URL without user name, password, query and fragment",
  })
  .default(false)
  .meta({ allowed: REDIRECT_HINT })
  .describe(
    "Send clients elsewhere for blobs that are stored (307): `presigned`, to the object store itself, whose endpoint every client must reach; or a base URL, to a web server or CDN in front of the bucket or of the filesystem's folder.",
  );

/** `storage.blobs`: which driver keeps the bytes, and where. */
export const blobStoreConfig = section({
  driver: z
    .enum(["filesystem", "memory", "s3", "gcs", "azure"])
    .default("filesystem")
    .describe("Where the bytes are kept. `memory` is for trying things out: nothing survives the process."),
  filesystem: section({
    path: filePath("./data").describe("Folder of the bytes; readable as an OCI image layout."),
  }),
  s3: s3Schema.optional(),
  gcs: gcsSchema.optional(),
  azure: azureSchema.optional(),
  redirect: redirectSchema,
}).superRefine((blobs, context) => {
  const { driver, redirect } = blobs;
  const complain = (path: readonly string[], message: string) =>
    context.addIssue({ code: "custom", path: [...path], message });
  const signs = driver === "s3" || driver === "gcs" || driver === "azure";
  if (redirect === "presigned" && !signs) complain(["redirect"], "presigned needs an object store");
  if (redirect !== false && driver === "memory") complain(["redirect"], "the driver memory has nothing to redirect to");
  if (driver === "s3" && !blobs.s3) complain(["s3", "bucket"], "the driver s3 needs a bucket");
  if (driver === "gcs" && !blobs.gcs) complain(["gcs", "bucket"], "the driver gcs needs a bucket");
  if (driver === "azure" && !blobs.azure) complain(["azure", "account"], "the driver azure needs an account");
  if (driver === "azure" && redirect === "presigned" && blobs.azure && blobs.azure.accountKeyFile === undefined) {
    complain(["redirect"], "presigned needs azure.accountKeyFile, which signs the URLs");
  }
});
export type BlobStoreConfig = z.output<typeof blobStoreConfig>;
