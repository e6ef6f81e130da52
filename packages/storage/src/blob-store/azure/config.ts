import { filePath, httpUrl } from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { matching, objectStoreKeys } from "../object-store/config.ts";

export const azureSchema = z
  .strictObject({
    account: matching(/^[a-z0-9]{3,24}$/, "a storage account: 3 to 24 lower-case letters and digits").describe(
      "Storage account",
    ),
    container: matching(
      /^(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*$/,
      "a container: 3 to 63 lower-case letters, digits and single hyphens",
    ).describe("Container; it must be there"),
    endpoint: httpUrl()
      .optional()
      .describe("URL of the account, for other clouds and emulators; default: https://<account>.blob.core.windows.net"),
    ...objectStoreKeys,
    accountKeyFile: filePath().optional().describe("File with a key of the account"),
    sasTokenFile: filePath()
      .optional()
      .describe("File with a shared access signature (query string) for the container"),
  })
  .superRefine(({ accountKeyFile, sasTokenFile }, context) => {
    if (accountKeyFile === undefined || sasTokenFile === undefined) return;
    const message = "accountKeyFile and sasTokenFile exclude each other";
    context.addIssue({ code: "custom", path: ["sasTokenFile"], message });
  });
export type AzureConfig = z.output<typeof azureSchema>;
