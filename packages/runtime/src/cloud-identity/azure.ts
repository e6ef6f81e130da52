import { createSecretFile, type SecretFile } from "../secret.ts";
import { requestToken } from "./token-request.ts";
import { createTokenSource, IdentityError, type TokenSource } from "./token-source.ts";

export type AzureIdentity = {
  /** What the token is for, such as https://storage.azure.com, without a slash at the end. */
  readonly resource: string;
  /** Usually process.env: what AKS gives to pods with a workload identity, AZURE_CLIENT_SECRET, or AZURE_CLIENT_ID alone. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Instead of AZURE_CLIENT_SECRET and AZURE_FEDERATED_TOKEN_FILE. */
  readonly clientSecretFile?: string | undefined;
  /** The machine's own metadata service is asked without it. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly now?: () => number;
};

const INSTANCE_METADATA = "http://169.254.169.254";

/** What proves to the directory who asks; fields of the form. */
type Proof = () => Promise<Readonly<Record<string, string>>>;

/**
 * Tokens of an application with AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret; with AZURE_FEDERATED_TOKEN_FILE instead of
 * the secret those of the pod's workload identity; without either those of the machine's managed identity (that of
 * AZURE_CLIENT_ID, where it has several).
 */
export function createAzureTokens({ env, clientSecretFile, ...deps }: AzureIdentity): TokenSource {
  const { AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: clientId } = env;
  const proof = clientSecretFile === undefined ? proofOf(env) : secretProof(createSecretFile(clientSecretFile));
  if (!proof) {
    const host = env.AZURE_POD_IDENTITY_AUTHORITY_HOST || INSTANCE_METADATA;
    return managedIdentity(deps, { host, clientId: clientId || undefined });
  }
  // AKS sets the client id only for an annotated service account: the machine's identity instead would be a riddle.
  if (!tenant || !clientId) return incomplete(env, tenant ? "AZURE_CLIENT_ID" : "AZURE_TENANT_ID");
  const authority = (env.AZURE_AUTHORITY_HOST || "https://login.microsoftonline.com").replace(/\/+$/, "");
  const url = `${authority}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`;
  return applicationTokens(deps, { clientId, url, proof });
}

function incomplete(env: AzureIdentity["env"], missing: string): TokenSource {
  const given = env.AZURE_CLIENT_SECRET ? "AZURE_CLIENT_SECRET" : "AZURE_FEDERATED_TOKEN_FILE";
  return {
    token: async () => {
      throw new IdentityError(`${given} is set, but ${missing} is not`, { transient: false });
    },
    forget: () => {},
  };
}

function secretProof(file: SecretFile): Proof {
  return async () => ({ client_secret: await file.read() });
}

function proofOf({ AZURE_FEDERATED_TOKEN_FILE: path, AZURE_CLIENT_SECRET: secret }: AzureIdentity["env"]) {
  if (secret) return async () => ({ client_secret: secret });
  return path ? assertionProof(createSecretFile(path)) : undefined;
}

/** The service account's token, which Kubernetes renews in its file (RFC 7523 §2.2). */
function assertionProof(file: SecretFile): Proof {
  return async () => ({
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: await file.read(),
  });
}

type Deps = Omit<AzureIdentity, "env" | "clientSecretFile">;

function applicationTokens(
  { resource, fetch, now = Date.now }: Deps,
  { clientId, url, proof }: { readonly clientId: string; readonly url: string; readonly proof: Proof },
): TokenSource {
  const acquire = async () =>
    requestToken({
      who: "the directory's token endpoint",
      url,
      form: {
        grant_type: "client_credentials",
        client_id: clientId,
        scope: `${resource}/.default`,
        ...(await proof()),
      },
      fetch,
      now,
    });
  return createTokenSource(acquire, { now });
}

function managedIdentity(
  { resource, now = Date.now }: Deps,
  { host, clientId }: { readonly host: string; readonly clientId: string | undefined },
): TokenSource {
  const query = new URLSearchParams({
    "api-version": "2018-02-01",
    resource,
    ...(clientId === undefined ? {} : { client_id: clientId }),
  });
  const url = `${host.replace(/\/+$/, "")}/metadata/identity/oauth2/token?${query.toString()}`;
  const who = "the instance metadata service";
  return createTokenSource(() => requestToken({ who, url, headers: { metadata: "true" }, now }), { now });
}
