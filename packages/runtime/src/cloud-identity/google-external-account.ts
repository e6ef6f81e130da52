import { parseJson } from "@cache-registry/core/json";
import { z } from "zod";
import { createSecretFile } from "../secret.ts";
import { createCloudRequests, refusal, unusable } from "./cloud-request.ts";

const format = z
  .union([
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json"), subject_token_field_name: z.string().min(1) }),
  ])
  .default({ type: "text" });

/** Google's "external account" file, with the token in a file or at a URL; not from AWS and not from a program. */
export const externalAccountSchema = z.object({
  type: z.literal("external_account"),
  audience: z.string().min(1),
  subject_token_type: z.string().min(1),
  token_url: z.url({ protocol: /^https?$/ }),
  service_account_impersonation_url: z.url({ protocol: /^https?$/ }).optional(),
  credential_source: z.union([
    z.object({ file: z.string().min(1), format }),
    z.object({ url: z.url(), headers: z.record(z.string(), z.string()).default({}), format }),
  ]),
});
export type ExternalAccount = z.output<typeof externalAccountSchema>;

/** The token of the other identity provider. @throws IdentityError without its text */
export async function subjectTokenOf({ credential_source: source }: ExternalAccount): Promise<string> {
  const text = await textOf(source);
  if (source.format.type === "text") return text.trim();
  const json = parseJson(text) as Readonly<Record<string, unknown>> | null | undefined;
  const token = json?.[source.format.subject_token_field_name];
  if (typeof token !== "string") throw unusable("the workload identity source holds no token");
  return token;
}

async function textOf(source: ExternalAccount["credential_source"]): Promise<string> {
  if ("file" in source) return createSecretFile(source.file).read();
  const url = new URL(source.url);
  const answer = await createCloudRequests()({ method: "GET", url, headers: source.headers, local: true });
  if (answer.status !== 200) throw refusal(url, answer);
  return answer.text;
}
