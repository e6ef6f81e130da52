import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ScriptedService, startScriptedService } from "@cache-registry/runtime/testing/scripted-service";
import { isSigned } from "@cache-registry/runtime/testing/verify-signature";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlobStore } from "./blob-store.ts";
import { blobStoreConfig } from "./config.ts";
import { openBlobStore } from "./open.ts";

/* Stores without a credential in their configuration, from the variables that a cloud gives to a pod up to the first request. */

let cloud: ScriptedService;
let server: ScriptedService;
let folder: string;
let store: BlobStore | undefined;

beforeEach(async () => {
  [cloud, server] = await Promise.all([startScriptedService(), startScriptedService()]);
  folder = await mkdtemp(join(tmpdir(), "identities-"));
});
afterEach(async () => {
  await store?.close();
  await Promise.all([cloud.close(), server.close(), rm(folder, { recursive: true })]);
});

async function start(blobs: object, env: Readonly<Record<string, string>>): Promise<void> {
  store = await openBlobStore(blobStoreConfig.parse(blobs), { env });
  await store.start();
}

async function tokenFile(): Promise<string> {
  const file = join(folder, "token");
  await writeFile(file, "jwt-of-the-pod");
  return file;
}

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();

describe("a store on S3", () => {
  const signing = { secretAccessKey: "s3cret", region: "eu-west-3", service: "s3" };

  async function expectSigned(env: Readonly<Record<string, string>>): Promise<void> {
    server.answer = (request) =>
      isSigned(request, signing)
        ? { body: "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>" }
        : { status: 403, body: "<Error><Code>AccessDenied</Code></Error>" };
    const s3 = { bucket: "images", region: "eu-west-3", endpoint: server.url, spool: join(folder, "spool") };
    await start({ driver: "s3", s3 }, env);
    const [list] = server.requests;
    expect(list?.url.pathname).toBe("/images/");
    expect(list?.headers["x-amz-security-token"]).toBe("session");
    expect(list?.headers.authorization).toMatch(/Credential=ASIAPOD\/.*SignedHeaders=[^,]*x-amz-security-token/);
  }

  it("has the role of its service account (IRSA)", async () => {
    const fields = `<AccessKeyId>ASIAPOD</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey><SessionToken>session</SessionToken>`;
    cloud.answer = ({ form }) =>
      form.WebIdentityToken === "jwt-of-the-pod"
        ? { body: `<Credentials>${fields}<Expiration>${inAnHour()}</Expiration></Credentials>` }
        : undefined;
    await expectSigned({
      AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/cache",
      AWS_WEB_IDENTITY_TOKEN_FILE: await tokenFile(),
      AWS_STS_REGIONAL_ENDPOINTS: "regional",
      AWS_REGION: "eu-west-3",
      AWS_ENDPOINT_URL_STS: cloud.url,
    });
  });

  it("has the role of EKS Pod Identity", async () => {
    const body = { AccessKeyId: "ASIAPOD", SecretAccessKey: "s3cret", Token: "session", Expiration: inAnHour() };
    cloud.answer = ({ headers }) => (headers.authorization === "jwt-of-the-pod" ? { body } : { status: 401 });
    await expectSigned({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${cloud.url}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: await tokenFile(),
    });
  });
});

describe("a store on Google Cloud Storage", () => {
  const gcs = () => ({ driver: "gcs", gcs: { bucket: "images", endpoint: server.url, spool: join(folder, "spool") } });

  async function expectBearer(env: Readonly<Record<string, string>>): Promise<void> {
    server.answer = ({ headers }) =>
      headers.authorization === "Bearer of-the-pod" ? { body: { kind: "storage#objects" } } : { status: 401 };
    await start(gcs(), env);
    expect(server.requests).toHaveLength(1);
  }

  it("has the identity that GKE's metadata server gives", async () => {
    cloud.answer = ({ url, headers }) =>
      url.pathname === "/computeMetadata/v1/instance/service-accounts/default/token" &&
      headers["metadata-flavor"] === "Google"
        ? { body: { access_token: "of-the-pod", expires_in: 3599, token_type: "Bearer" } }
        : undefined;
    await expectBearer({ GCE_METADATA_HOST: cloud.host });
  });

  it("has that of a workload identity configuration", async () => {
    cloud.answer = ({ form }) =>
      form.subject_token === "jwt-of-the-pod" ? { body: { access_token: "of-the-pod", expires_in: 3599 } } : undefined;
    const file = join(folder, "configuration.json");
    const account = {
      type: "external_account",
      audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      token_url: `${cloud.url}/v1/token`,
      credential_source: { file: await tokenFile() },
    };
    await writeFile(file, JSON.stringify(account));
    await expectBearer({ GOOGLE_APPLICATION_CREDENTIALS: file });
  });
});

describe("a store on Azure", () => {
  async function expectBearer(env: Readonly<Record<string, string>>): Promise<void> {
    const list = "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
    server.answer = ({ headers }) =>
      headers.authorization === "Bearer of-the-pod" && headers["x-ms-version"] ? { body: list } : { status: 401 };
    const azure = { account: "images1", container: "oci", endpoint: server.url, spool: join(folder, "spool") };
    await start({ driver: "azure", azure }, env);
    expect(server.requests).toHaveLength(1);
  }

  it("has the workload identity of AKS", async () => {
    cloud.answer = ({ url, form }) =>
      url.pathname === "/tenant/oauth2/v2.0/token" &&
      form.client_assertion === "jwt-of-the-pod" &&
      form.scope === "https://storage.azure.com/.default"
        ? { body: { access_token: "of-the-pod", expires_in: 3599, token_type: "Bearer" } }
        : undefined;
    await expectBearer({
      AZURE_CLIENT_ID: "client",
      AZURE_TENANT_ID: "tenant",
      AZURE_FEDERATED_TOKEN_FILE: await tokenFile(),
      AZURE_AUTHORITY_HOST: `${cloud.url}/`,
    });
  });

  it("has the machine's managed identity", async () => {
    cloud.answer = ({ url, headers }) =>
      headers.metadata === "true" && url.searchParams.get("resource") === "https://storage.azure.com"
        ? { body: { access_token: "of-the-pod", expires_in: "86399", token_type: "Bearer" } }
        : undefined;
    await expectBearer({ AZURE_POD_IDENTITY_AUTHORITY_HOST: cloud.url });
  });
});
