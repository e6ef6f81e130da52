import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedService, startScriptedService } from "../testing/scripted-service.ts";
import { type AzureIdentity, createAzureTokens } from "./azure.ts";
import type { Environment } from "./cloud-request.ts";

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

async function tokenOf(env: Environment, options: Partial<AzureIdentity> = {}): Promise<string> {
  const tokens = createAzureTokens({ env, resource: RESOURCE, ...options });
  return (await tokens.token()).value;
}

describe("an application of Azure", () => {
  it("proves itself with a secret, from a file or the variable", async () => {
    service.answer = ({ url, form }) => ({
      body: { access_token: JSON.stringify([url.pathname, form]), expires_in: 3599 },
    });
    const env = { AZURE_AUTHORITY_HOST: `${service.url}/`, AZURE_TENANT_ID: "tenant", AZURE_CLIENT_ID: "app" };
    const clientSecretFile = join(folder, "secret");
    await writeFile(clientSecretFile, "s3cret\n");
    const form = { grant_type: "client_credentials", scope: `${RESOURCE}/.default`, client_id: "app" };
    const expected = ["/tenant/oauth2/v2.0/token", { ...form, client_secret: "s3cret" }];
    expect(JSON.parse(await tokenOf(env, { clientSecretFile }))).toEqual(expected);
    const federated = { AZURE_FEDERATED_TOKEN_FILE: "/nowhere" };
    expect(JSON.parse(await tokenOf({ ...env, ...federated, AZURE_CLIENT_SECRET: "s3cret" }))).toEqual(expected);
  });

  it("that is half named is told by the variable that is missing", async () => {
    const federated = { AZURE_FEDERATED_TOKEN_FILE: "/nowhere", AZURE_TENANT_ID: "tenant" };
    await expect(tokenOf(federated)).rejects.toThrow("AZURE_FEDERATED_TOKEN_FILE is set, but AZURE_CLIENT_ID is not");
    const secret = { AZURE_CLIENT_SECRET: "hunter2", AZURE_CLIENT_ID: "app" };
    await expect(tokenOf(secret)).rejects.toThrow("AZURE_CLIENT_SECRET is set, but AZURE_TENANT_ID is not");
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
    expect(String(error)).toBe("IdentityError: the directory's token endpoint answered 401 invalid_client");
  });
});
