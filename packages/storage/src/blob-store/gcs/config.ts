import { filePath, httpUrl } from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { bucketName, objectStoreKeys } from "../object-store/config.ts";

export const gcsSchema = z
  .strictObject({
    bucket: bucketName(222).describe("Bucket; it must be there, and unversioned"),
    endpoint: httpUrl("https://storage.googleapis.com").describe("URL of the server, for emulators and private ones"),
    ...objectStoreKeys,
    serviceAccountFile: filePath()
      .optional()
      .describe(
        "Key file (JSON) of a service account, or configuration of a workload identity; default: GOOGLE_APPLICATION_CREDENTIALS, or else the identity of the pod or the machine",
      ),
    anonymous: z.boolean().default(false).describe("Send no credentials, for emulators"),
  })
  .superRefine(({ anonymous, serviceAccountFile }, context) => {
    if (!anonymous || serviceAccountFile === undefined) return;
    const message = "anonymous and serviceAccountFile exclude each other";
    context.addIssue({ code: "custom", path: ["anonymous"], message });
  });
export type GcsConfig = z.output<typeof gcsSchema>;
