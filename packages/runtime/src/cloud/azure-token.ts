import { z } from "zod";
import { createRenewed, type Lasting, type Renewed } from "../renewed.ts";
import { createSecretFile } from "../secret.ts";
import {
  CloudError,
  type CloudRequest,
  type Environment,
  formRequest,
  parseJson,
  refusal,
  type SendCloudRequest,
} from "./cloud-request.ts";

export type AzureTokenOptions = {
  readonly send: SendCloudRequest;
  readonly env: Environment;
  /** For whom the token is: `https://containerregistry.azure.net`. */
  readonly resource: string;
  readonly tenantId?: string | undefined;
  readonly clientId?: string | undefined;
  readonly clientSecretFile?: string | undefined;
  readonly federatedTokenFile?: string | undefined;
};

const AUTHORITY = "https://login.microsoftonline.com/";
const INSTANCE_HOST = "http://169.254.169.254";
const JWT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/** The instance service writes the seconds as a text. */
const TokenAnswer = z.object({ access_token: z.string().min(1), expires_in: z.coerce.number().positive() });

async function askForToken(send: SendCloudRequest, request: CloudRequest): Promise<Lasting<string>> {
  const answer = await send(request);
  if (answer.status !== 200) throw refusal(request.url, answer);
  const parsed = TokenAnswer.safeParse(parseJson(answer.text));
  if (!parsed.success) throw new CloudError(`${request.url.host}: gave no token`);
  return { value: parsed.data.access_token, lifetime: parsed.data.expires_in * 1000 };
}

/** How an application proves who it is; undefined: it does not, and the machine's managed identity is asked. */
async function proof({ env, ...options }: AzureTokenOptions): Promise<Record<string, string> | undefined> {
  const { clientSecretFile } = options;
  const federatedTokenFile = options.federatedTokenFile ?? env.AZURE_FEDERATED_TOKEN_FILE;
  if (clientSecretFile !== undefined) return { client_secret: await createSecretFile(clientSecretFile).read() };
  if (options.federatedTokenFile === undefined && env.AZURE_CLIENT_SECRET)
    return { client_secret: env.AZURE_CLIENT_SECRET };
  if (!federatedTokenFile) return undefined;
  const assertion = await createSecretFile(federatedTokenFile).read();
  return { client_assertion_type: JWT_ASSERTION, client_assertion: assertion };
}

function managedIdentityRequest(clientId: string | undefined, { env, resource }: AzureTokenOptions): CloudRequest {
  const url = new URL("/metadata/identity/oauth2/token", env.AZURE_POD_IDENTITY_AUTHORITY_HOST || INSTANCE_HOST);
  url.searchParams.set("api-version", "2018-02-01");
  url.searchParams.set("resource", resource);
  if (clientId) url.searchParams.set("client_id", clientId);
  return { method: "GET", url, headers: { metadata: "true" }, local: true };
}

async function requestOf(options: AzureTokenOptions): Promise<CloudRequest> {
  const { env, resource } = options;
  const clientId = options.clientId ?? env.AZURE_CLIENT_ID;
  const proven = await proof(options);
  if (!proven) return managedIdentityRequest(clientId, options);
  const tenant = options.tenantId ?? env.AZURE_TENANT_ID;
  if (!tenant || !clientId)
    throw new CloudError("tenantId and clientId, or AZURE_TENANT_ID and AZURE_CLIENT_ID, are needed");
  const authority = env.AZURE_AUTHORITY_HOST || AUTHORITY;
  const url = new URL(`${authority.replace(/\/+$/, "")}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`);
  const fields = { grant_type: "client_credentials", client_id: clientId, scope: `${resource}/.default`, ...proven };
  return formRequest(url, fields);
}

/**
 * An access token of Microsoft Entra ID: of an application with a secret or a federated token (AKS workload identity), or
 * of the machine's managed identity. Renewed before it expires. @throws CloudError from `get`
 */
export function createAzureToken(options: AzureTokenOptions): Renewed<string> {
  return createRenewed({ obtain: async () => askForToken(options.send, await requestOf(options)) });
}
