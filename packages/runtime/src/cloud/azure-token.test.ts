import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedService, startScriptedService } from "../testing/scripted-service.ts";
import { type AzureTokenOptions, createAzureToken } from "./azure-token.ts";
import { createCloudRequests, type Environment } from "./cloud-request.ts";

const RESOURCE = "https://containerregistry.azure.net";

let service: ScriptedService;
let folder: string;

beforeEach(async () => {
  service = await startScriptedService();
  folder = await mkdtemp(join(tmpdir(), "azure-"));
});
afterEach(async () => {
  await service.close();
  await rm(folder, { recursive: true });
});

function tokenOf(env: Environment, options: Partial<AzureTokenOptions> = {}): Promise<string> {
  return createAzureToken({ send: createCloudRequests({}), env, resource: RESOURCE, ...options }).get();
}

async function fileWith(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

describe("a token of Entra ID", () => {
  const common = { grant_type: "client_credentials", scope: `${RESOURCE}/.default` };

  beforeEach(() => {
    service.answer = ({ method, url, form }) =>
      method === "POST"
        ? { body: { access_token: JSON.stringify([url.pathname, form]), expires_in: 3599 } }
        : undefined;
  });

  it("is had with an application's secret", async () => {
    const env = { AZURE_AUTHORITY_HOST: `${service.url}/` };
    const clientSecretFile = await fileWith("secret", "s3cret\n");
    const options = { tenantId: "tenant", clientId: "app", clientSecretFile };
    const expected = ["/tenant/oauth2/v2.0/token", { ...common, client_id: "app", client_secret: "s3cret" }];
    expect(JSON.parse(await tokenOf(env, options))).toEqual(expected);
    const variables = { ...env, AZURE_TENANT_ID: "tenant", AZURE_CLIENT_ID: "app", AZURE_CLIENT_SECRET: "s3cret" };
    expect(JSON.parse(await tokenOf(variables))).toEqual(expected);
    await expect(tokenOf(env, { clientSecretFile })).rejects.toThrow("AZURE_TENANT_ID and AZURE_CLIENT_ID, are needed");
  });

  it("is had with a federated token, as AKS gives to pods", async () => {
    const env = {
      AZURE_AUTHORITY_HOST: `${service.url}/`,
      AZURE_TENANT_ID: "tenant",
      AZURE_CLIENT_ID: "app",
      AZURE_FEDERATED_TOKEN_FILE: await fileWith("federated", "pod-jwt"),
    };
    expect(JSON.parse(await tokenOf(env))).toEqual([
      "/tenant/oauth2/v2.0/token",
      {
        ...common,
        client_id: "app",
        client_assertion: "pod-jwt",
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      },
    ]);
  });

  it("is had for the machine's managed identity", async () => {
    service.answer = ({ url, headers }) =>
      headers.metadata === "true" && url.pathname === "/metadata/identity/oauth2/token"
        ? { body: { access_token: JSON.stringify(Object.fromEntries(url.searchParams)), expires_in: "86399" } }
        : { status: 400 };
    const env = { AZURE_POD_IDENTITY_AUTHORITY_HOST: service.url };
    const expected = { "api-version": "2018-02-01", resource: RESOURCE };
    expect(JSON.parse(await tokenOf(env))).toEqual(expected);
    expect(JSON.parse(await tokenOf(env, { clientId: "kubelet" }))).toEqual({ ...expected, client_id: "kubelet" });
  });

  it("that is refused is told by code, without secrets", async () => {
    service.answer = ({ body }) => ({ status: 401, body: { error: "invalid_client", error_description: body } });
    const env = {
      AZURE_AUTHORITY_HOST: service.url,
      AZURE_TENANT_ID: "t",
      AZURE_CLIENT_ID: "a",
      AZURE_CLIENT_SECRET: "hunter2",
    };
    const error: unknown = await tokenOf(env).catch((thrown: unknown) => thrown);
    expect(String(error)).toBe(`CloudError: ${service.host}: answered 401 invalid_client`);
  });
});
