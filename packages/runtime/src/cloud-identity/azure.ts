import { createSecretFile } from "../secret.ts";
import { requestToken } from "./token-request.ts";
import { createTokenSource, type TokenSource } from "./token-source.ts";

export type AzureIdentity = {
  /** What the token is for, such as https://storage.azure.com, without a slash at the end. */
  readonly resource: string;
  /** Usually process.env: what AKS gives to pods with a workload identity, or AZURE_CLIENT_ID alone. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fetch?: typeof globalThis.fetch;
  readonly now?: () => number;
  /** For tests: where the instance metadata service is. */
  readonly metadataUrl?: string;
};

const INSTANCE_METADATA = "http://169.254.169.254";

/**
 * Tokens of the process's own identity: with AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID the workload
 * identity of the pod, otherwise the machine's managed identity (that of AZURE_CLIENT_ID, where it has several).
 */
export function createAzureTokens({ env, ...deps }: AzureIdentity): TokenSource {
  const { AZURE_FEDERATED_TOKEN_FILE: file, AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: clientId } = env;
  if (!file || !tenant || !clientId) return managedIdentity(deps, clientId || undefined);
  const authority = (env.AZURE_AUTHORITY_HOST || "https://login.microsoftonline.com").replace(/\/+$/, "");
  return workloadIdentity(deps, { file, clientId, url: `${authority}/${tenant}/oauth2/v2.0/token` });
}

/** The service account's token, which Kubernetes renews in its file, for one of the directory (RFC 7523 §2.2). */
function workloadIdentity(
  { resource, fetch, now = Date.now }: Omit<AzureIdentity, "env">,
  { file, clientId, url }: { readonly file: string; readonly clientId: string; readonly url: string },
): TokenSource {
  const assertion = createSecretFile(file);
  const acquire = async () =>
    requestToken({
      who: "the directory's token endpoint",
      url,
      form: {
        grant_type: "client_credentials",
        client_id: clientId,
        scope: `${resource}/.default`,
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: await assertion.read(),
      },
      fetch,
      now,
    });
  return createTokenSource(acquire, { now });
}

function managedIdentity(
  { resource, fetch, now = Date.now, metadataUrl = INSTANCE_METADATA }: Omit<AzureIdentity, "env">,
  clientId: string | undefined,
): TokenSource {
  const query = new URLSearchParams({
    "api-version": "2018-02-01",
    resource,
    ...(clientId === undefined ? {} : { client_id: clientId }),
  });
  const url = `${metadataUrl}/metadata/identity/oauth2/token?${query.toString()}`;
  const who = "the instance metadata service";
  return createTokenSource(() => requestToken({ who, url, headers: { metadata: "true" }, fetch, now }), { now });
}
