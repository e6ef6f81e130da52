import { filePath, httpUrl, section } from "@cache-registry/runtime/config-types";
import { z } from "zod";

const BUCKET_HINT = "a bucket name: 3 to 63 letters, digits, dots, hyphens and underscores";
const PREFIX_HINT = "path segments of letters, digits, `.`, `_` and `-`";

function matching(pattern: RegExp, hint: string) {
  return z
    .string()
    .regex(pattern, { error: `expected ${hint}` })
    .meta({ allowed: hint });
}

const s3Schema = z.strictObject({
  bucket: matching(/^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$/, BUCKET_HINT).describe(
    "Bucket; it must be there, and unversioned",
  ),
  region: matching(/^[a-z0-9-]{1,64}$/, "a region such as eu-west-3")
    .default("us-east-1")
    .describe("Region of the bucket; of other servers than AWS usually the default"),
  endpoint: httpUrl().optional().describe("URL of a compatible server; default: that of AWS in the region"),
  prefix: matching(/^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?$/, PREFIX_HINT)
    .default("")
    .describe("Folder in the bucket, for this registry alone: what is below it is removed when no row knows it"),
  pathStyle: z
    .boolean()
    .optional()
    .describe("The bucket is named in the path instead of the host name; default: only with an endpoint"),
  accessKeyIdFile: filePath().optional().describe("File with the access key id; default: AWS_ACCESS_KEY_ID"),
  secretAccessKeyFile: filePath()
    .optional()
    .describe("File with the secret access key; default: AWS_SECRET_ACCESS_KEY"),
  sessionTokenFile: filePath()
    .optional()
    .describe("File with the token of temporary credentials; default: AWS_SESSION_TOKEN"),
  spool: filePath("./data/spool").describe(
    "Local folder for content on its way; upload sessions survive a restart there",
  ),
});

/** `storage.blobs`: which driver keeps the bytes, and where. */
export const blobStoreConfig = section({
  driver: z
    .enum(["filesystem", "memory", "s3"])
    .default("filesystem")
    .describe("Where the bytes are kept. `memory` is for trying things out: nothing survives the process."),
  filesystem: section({
    path: filePath("./data").describe("Folder of the bytes; readable as an OCI image layout."),
  }),
  s3: s3Schema.optional(),
  redirect: z
    .union([z.literal(false), z.literal("presigned")], { error: "expected false or presigned" })
    .default(false)
    .meta({ allowed: "`false`, `presigned`" })
    .describe("With s3: send clients to the object store for blobs (307). Every client must reach its endpoint."),
}).superRefine(({ driver, s3, redirect }, context) => {
  if (redirect === "presigned" && driver !== "s3") {
    context.addIssue({ code: "custom", path: ["redirect"], message: "presigned needs the driver s3" });
  }
  if (driver === "s3" && !s3) {
    context.addIssue({ code: "custom", path: ["s3", "bucket"], message: "the driver s3 needs a bucket" });
  }
  if ((s3?.accessKeyIdFile === undefined) !== (s3?.secretAccessKeyFile === undefined)) {
    const message = "accessKeyIdFile and secretAccessKeyFile go together";
    context.addIssue({ code: "custom", path: ["s3", "secretAccessKeyFile"], message });
  }
});
export type BlobStoreConfig = z.output<typeof blobStoreConfig>;
export type S3Config = z.output<typeof s3Schema>;
