import { isRepositoryName } from "@cache-registry/core/repository-name";
import { filePath, secretText } from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { isHelperInstalled, isHelperName } from "./helper.ts";

const PREFIX_HINT = "the beginning of a repository path in whole components, such as team or team/app";
const HELPER_HINT = "the name of a docker credential helper as in docker-credential-<name>, without a path";

const text = () => z.string().min(1, { error: "expected a text that is not empty" });

/** What an entry says of who we are; exactly one of these. */
const FORMS = ["username and password", "dockerConfigFile", "helper", "provider"] as const;
type Form = (typeof FORMS)[number];

export const PROVIDERS = ["ecr", "gcp", "acr"] as const;
export type Provider = (typeof PROVIDERS)[number];

const entryShape = {
  prefix: z
    .string()
    .refine(isRepositoryName, { error: `expected ${PREFIX_HINT}` })
    .meta({ allowed: PREFIX_HINT })
    .optional()
    .describe("Repositories that the entry is for; the longest prefix counts, without one it is for the rest"),
  username: text().optional().describe("User name"),
  password: secretText().optional().describe("Password or access token; prefer passwordFile"),
  usernameFile: filePath().optional().describe("File with the user name; read again when it changes"),
  passwordFile: filePath().optional().describe("File with the password; read again when it changes"),
  dockerConfigFile: filePath()
    .optional()
    .describe("Docker's config.json or a Secret's .dockerconfigjson; read again when it changes"),
  helper: z
    .string()
    .refine(isHelperName, { error: `expected ${HELPER_HINT}` })
    .meta({ allowed: HELPER_HINT })
    .optional()
    .describe("Docker credential helper, found on PATH"),
  provider: z
    .enum(PROVIDERS)
    .optional()
    .describe("Tokens of a cloud: Amazon ECR, Google's gcr.io and pkg.dev, Azure Container Registry"),
  region: text().optional().describe("ecr: region of the registry; default: the one in its name"),
  roleArn: text().optional().describe("ecr: role to assume with the credentials that were found"),
  credentialsFile: filePath()
    .optional()
    .describe("gcp: service account key or workload identity configuration; default: GOOGLE_APPLICATION_CREDENTIALS"),
  tenantId: text().optional().describe("acr: Entra tenant; default: AZURE_TENANT_ID"),
  clientId: text().optional().describe("acr: application or managed identity; default: AZURE_CLIENT_ID"),
  clientSecretFile: filePath()
    .optional()
    .describe("acr: file with the application's secret; default: AZURE_CLIENT_SECRET"),
  federatedTokenFile: filePath()
    .optional()
    .describe("acr: file with a federated token; default: AZURE_FEDERATED_TOKEN_FILE"),
};

const OPTIONS: Readonly<Record<Provider, readonly (keyof typeof entryShape)[]>> = {
  ecr: ["region", "roleArn"],
  gcp: ["credentialsFile"],
  acr: ["tenantId", "clientId", "clientSecretFile", "federatedTokenFile"],
};

const PAIR = ["username", "usernameFile", "password", "passwordFile"] as const;

const entrySchema = z.strictObject(entryShape).superRefine((entry, context) => {
  const complain = (message: string, key?: string): void =>
    context.addIssue({ code: "custom", message, path: key === undefined ? [] : [key] });
  const forms: Form[] = FORMS.filter((form) =>
    form === "username and password" ? PAIR.some((key) => entry[key] !== undefined) : entry[form] !== undefined,
  );
  if (forms.length !== 1) return complain(`exactly one of ${FORMS.join(", ")} is needed`);
  if (forms[0] === "username and password") {
    if ((entry.username === undefined) === (entry.usernameFile === undefined))
      complain("exactly one of username and usernameFile is needed");
    if ((entry.password === undefined) === (entry.passwordFile === undefined))
      complain("exactly one of password and passwordFile is needed");
  }
  for (const provider of PROVIDERS) {
    if (provider === entry.provider) continue;
    for (const key of OPTIONS[provider])
      if (entry[key] !== undefined) complain(`is for provider ${provider} only`, key);
  }
  if (entry.clientSecretFile !== undefined && entry.federatedTokenFile !== undefined)
    complain("not together with clientSecretFile", "federatedTokenFile");
});
export type CredentialsEntry = z.output<typeof entrySchema>;

/** One entry, or several for different repositories. Always a list in the end. */
export const credentialsSchema = z
  .union([entrySchema, z.array(entrySchema)])
  .transform((given): readonly CredentialsEntry[] => (Array.isArray(given) ? given : [given]))
  .superRefine((entries, context) => {
    const prefixes = entries.map(({ prefix }) => prefix);
    for (const prefix of new Set(prefixes.filter((one, index) => prefixes.indexOf(one) !== index)))
      context.addIssue({
        code: "custom",
        message: prefix === undefined ? "two entries have no prefix" : `prefix ${prefix} is listed twice`,
      });
  });
export type CredentialsConfig = z.output<typeof credentialsSchema>;

const FILES = [
  "usernameFile",
  "passwordFile",
  "dockerConfigFile",
  "credentialsFile",
  "clientSecretFile",
  "federatedTokenFile",
] as const;

/** The files that must be there at start, each with its key below `credentials`. */
export function filesOfCredentials(entries: CredentialsConfig | undefined): (readonly [key: string, path: string])[] {
  return (entries ?? []).flatMap((entry, index, { length }) =>
    FILES.flatMap((name) => {
      const path = entry[name];
      return path === undefined ? [] : [[length === 1 ? name : `${index}.${name}`, path] as const];
    }),
  );
}

/** Credential helpers that are not installed, each with its key below `credentials`. */
export function missingHelpers(entries: CredentialsConfig | undefined): (readonly [key: string, helper: string])[] {
  return (entries ?? []).flatMap(({ helper }, index, { length }) =>
    helper === undefined || isHelperInstalled(helper)
      ? []
      : [[length === 1 ? "helper" : `${index}.helper`, helper] as const],
  );
}
