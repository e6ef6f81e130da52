import { filePath, httpUrl } from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { bucketName, matching, objectStoreKeys } from "../object-store/config.ts";

export const s3Schema = z
  .strictObject({
    bucket: bucketName(63).describe("Bucket; it must be there, and unversioned"),
    region: matching(/^[a-z0-9-]{1,64}$/, "a region such as eu-west-3")
      .default("us-east-1")
      .describe("Region of the bucket; of other servers than AWS usually the default"),
    endpoint: httpUrl().optional().describe("URL of a compatible server; default: that of AWS in the region"),
    ...objectStoreKeys,
    pathStyle: z
      .boolean()
      .optional()
      .describe("The bucket is named in the path instead of the host name; default: only with an endpoint"),
    accessKeyIdFile: filePath()
      .optional()
      .describe(
        "File with the access key id; default: AWS_ACCESS_KEY_ID, or else the role of the service account (IRSA, EKS Pod Identity) or the machine",
      ),
    secretAccessKeyFile: filePath()
      .optional()
      .describe("File with the secret access key; default: AWS_SECRET_ACCESS_KEY"),
    sessionTokenFile: filePath()
      .optional()
      .describe("File with the token of temporary credentials; default: AWS_SESSION_TOKEN"),
  })
  .superRefine(({ accessKeyIdFile, secretAccessKeyFile, sessionTokenFile }, context) => {
    if ((accessKeyIdFile === undefined) !== (secretAccessKeyFile === undefined)) {
      const message = "accessKeyIdFile and secretAccessKeyFile go together";
      context.addIssue({ code: "custom", path: ["secretAccessKeyFile"], message });
    } else if (sessionTokenFile !== undefined && accessKeyIdFile === undefined) {
      const message = "sessionTokenFile goes with accessKeyIdFile and secretAccessKeyFile";
      context.addIssue({ code: "custom", path: ["sessionTokenFile"], message });
    }
  });
export type S3Config = z.output<typeof s3Schema>;
