import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { awsDomain } from "../cloud/aws-region.ts";
import { type ScriptedService, startScriptedService } from "../testing/scripted-service.ts";
import { isSigned } from "../testing/verify-signature.ts";
import { createAwsCredentials } from "./aws-credentials.ts";
import { stsPlace } from "./aws-sts.ts";
import { createCloudRequests, type Environment } from "./cloud-request.ts";

const ROLE = "arn:aws:iam::123456789012:role/pull";
const KEYS = { AWS_ACCESS_KEY_ID: "AKIDENV", AWS_SECRET_ACCESS_KEY: "env-secret" };
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();

let service: ScriptedService;
let folder: string;

beforeEach(async () => {
  service = await startScriptedService();
  folder = await mkdtemp(join(tmpdir(), "aws-"));
});
afterEach(async () => {
  await service.close();
  await rm(folder, { recursive: true });
});

function credentials(env: Environment, roleArn?: string, onFailure?: (error: unknown) => void) {
  return createAwsCredentials({
    send: createCloudRequests(),
    env,
    region: "eu-west-3",
    domain: "amazonaws.com",
    roleArn,
    onFailure,
  });
}

/** What STS answers, as documented for both actions. */
function stsAnswer(action: string, id: string, expiration = inAnHour()): { body: string } {
  const fields = `<AccessKeyId>${id}</AccessKeyId><SecretAccessKey>sts-secret</SecretAccessKey><SessionToken>sts-token==</SessionToken>`;
  const result = `<Credentials>${fields}<Expiration>${expiration}</Expiration></Credentials>`;
  return {
    body: `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result>${result}</${action}Result></${action}Response>`,
  };
}

describe("AWS credentials", () => {
  it("come from the variables first", async () => {
    const env = { ...KEYS, AWS_SESSION_TOKEN: "session", AWS_WEB_IDENTITY_TOKEN_FILE: "/nowhere", AWS_ROLE_ARN: ROLE };
    expect(await credentials(env).get()).toEqual({
      accessKeyId: "AKIDENV",
      secretAccessKey: "env-secret",
      sessionToken: "session",
    });
  });

  it("are had for the token of the service account (IRSA), which is read each time, before they expire", async () => {
    const file = join(folder, "token");
    await writeFile(file, "jwt-1\n");
    // Expired as soon as given: the next call asks again.
    service.answer = () => stsAnswer("AssumeRoleWithWebIdentity", "ASIAWEB", new Date(Date.now() - 1000).toISOString());
    const env = { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: ROLE, AWS_ENDPOINT_URL_STS: service.url };
    const source = credentials(env);
    expect(await source.get()).toEqual({
      accessKeyId: "ASIAWEB",
      secretAccessKey: "sts-secret",
      sessionToken: "sts-token==",
    });
    await writeFile(file, "jwt-2\n");
    service.answer = () => stsAnswer("AssumeRoleWithWebIdentity", "ASIAWEB");
    await source.get();
    await source.get();
    expect(service.requests.map(({ form }) => form)).toEqual(
      ["jwt-1", "jwt-2"].map((token) => ({
        Action: "AssumeRoleWithWebIdentity",
        Version: "2011-06-15",
        RoleArn: ROLE,
        RoleSessionName: "cache-registry",
        WebIdentityToken: token,
      })),
    );
    expect(service.requests[0]?.headers.authorization).toBeUndefined();
  });

  it("may be used to assume another role, in a signed request", async () => {
    service.answer = (request) =>
      isSigned(request, { secretAccessKey: "env-secret", region: "eu-west-3", service: "sts" })
        ? stsAnswer("AssumeRole", "ASIAROLE")
        : { status: 403 };
    const env = { ...KEYS, AWS_ENDPOINT_URL: service.url };
    expect(await credentials(env, ROLE).get()).toMatchObject({ accessKeyId: "ASIAROLE", sessionToken: "sts-token==" });
    expect(service.requests[0]?.form).toMatchObject({ Action: "AssumeRole", RoleArn: ROLE });
  });

  it("come from the agent of an ECS task or an EKS pod identity", async () => {
    const file = join(folder, "token");
    await writeFile(file, "pod-token");
    const body = { AccessKeyId: "ASIAPOD", SecretAccessKey: "s", Token: "t", Expiration: inAnHour(), AccountId: "1" };
    service.answer = ({ url, headers }) =>
      url.pathname === "/v1/credentials" && headers.authorization === "pod-token" ? { body } : { status: 401 };
    const full = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${service.url}/v1/credentials` };
    const byFile = { ...full, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file };
    expect(await credentials(byFile).get()).toMatchObject({ accessKeyId: "ASIAPOD", sessionToken: "t" });
    const byVariable = { ...full, AWS_CONTAINER_AUTHORIZATION_TOKEN: "pod-token" };
    expect(await credentials(byVariable).get()).toMatchObject({ accessKeyId: "ASIAPOD" });
    await expect(credentials(full).get()).rejects.toThrow("answered 401");
  });

  it("are not asked for in the clear on another machine", async () => {
    const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://192.0.2.1/", AWS_CONTAINER_AUTHORIZATION_TOKEN: "x" };
    await expect(credentials(env).get()).rejects.toThrow("neither https nor on this machine");
  });

  it("come from the instance by version 2 of its metadata service", async () => {
    const body = { Code: "Success", AccessKeyId: "ASIAEC2", SecretAccessKey: "s", Token: "t", Expiration: inAnHour() };
    service.answer = ({ method, url, headers }) => {
      if (url.pathname === "/latest/api/token") {
        const allowed = method === "PUT" && headers["x-aws-ec2-metadata-token-ttl-seconds"] === "300";
        return allowed ? { body: "session" } : { status: 400 };
      }
      if (headers["x-aws-ec2-metadata-token"] !== "session") return { status: 401 };
      if (url.pathname === "/latest/meta-data/iam/security-credentials/") return { body: "node-role" };
      return url.pathname === "/latest/meta-data/iam/security-credentials/node-role" ? { body } : undefined;
    };
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url };
    expect(await credentials(env).get()).toMatchObject({ accessKeyId: "ASIAEC2" });
    const disabled = credentials({ ...env, AWS_EC2_METADATA_DISABLED: "true" });
    await expect(disabled.get()).rejects.toThrow("no AWS credentials");
  });

  it("that are refused are told by code, without secrets", async () => {
    const file = join(folder, "token");
    await writeFile(file, "hunter2");
    service.answer = ({ body }) => ({
      status: 400,
      body: `<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>${body}</Message></Error></ErrorResponse>`,
    });
    const env = { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: ROLE, AWS_ENDPOINT_URL_STS: service.url };
    const error: unknown = await credentials(env)
      .get()
      .catch((thrown: unknown) => thrown);
    const source = "the service account's role (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE)";
    const reason = `${service.host}: answered 400 InvalidIdentityToken`;
    expect(String(error)).toBe(`IdentityError: no AWS credentials from ${source}: ${reason}`);
  });

  it.each([
    [{ AWS_ACCESS_KEY_ID: "hunter2" }, "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"],
    [{ AWS_SECRET_ACCESS_KEY: "hunter2" }, "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not"],
    [{ AWS_WEB_IDENTITY_TOKEN_FILE: "/nowhere" }, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not"],
    [{ AWS_WEB_IDENTITY_TOKEN_FILE: "/nowhere", AWS_ROLE_ARN: ROLE }, "cannot read the secret file /nowhere"],
    [{ AWS_CONTAINER_CREDENTIALS_FULL_URI: "hunter2" }, "AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL"],
    [
      { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: "/v2", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: "/nowhere" },
      "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI): cannot read the secret file /nowhere",
    ],
    [{ AWS_EC2_METADATA_SERVICE_ENDPOINT: "hunter2" }, "AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL"],
    [
      { AWS_EC2_METADATA_DISABLED: "TRUE" },
      "AWS_CONTAINER_CREDENTIALS_FULL_URI is set, and AWS_EC2_METADATA_DISABLED is",
    ],
    [{ AWS_ENDPOINT_URL_STS: "hunter2" }, "AWS_ENDPOINT_URL_STS is no URL"],
  ])("that cannot be had with %j are told with the variable or the file", async (env, message) => {
    const error: unknown = await credentials(env)
      .get()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "IdentityError", transient: false });
    expect(String(error)).toContain(message);
    expect(String(error)).not.toContain("hunter2");
  });

  it("of an instance are missing for good where it never gave any, and for a while where it did", async () => {
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url };
    service.answer = ({ url }) => (url.pathname === "/latest/api/token" ? { body: "session" } : undefined);
    await expect(credentials(env).get()).rejects.toThrow("the instance has no role");
    service.answer = () => ({ status: 503 });
    await expect(credentials(env).get()).rejects.toMatchObject({ transient: false });
    const failures: unknown[] = [];
    const onFailure = (error: unknown): void => void failures.push(error);
    const expired = new Date(Date.now() - 1000).toISOString();
    const body = { AccessKeyId: "ASIAEC2", SecretAccessKey: "s", Token: "t", Expiration: expired };
    service.answer = ({ url }) => ({ body: url.pathname.endsWith("/role") ? body : "role" });
    const source = credentials(env, undefined, onFailure);
    const held = await source.get();
    // The service says that it is over, but has nothing better.
    expect(await source.get()).toBe(held);
    expect(failures).toEqual([]);
  });
});

describe("the endpoint of STS", () => {
  it.each([
    [{}, "https://sts.eu-west-3.amazonaws.com/", "eu-west-3"],
    [{ AWS_STS_REGIONAL_ENDPOINTS: "regional" }, "https://sts.eu-west-3.amazonaws.com/", "eu-west-3"],
    [{ AWS_STS_REGIONAL_ENDPOINTS: "legacy" }, "https://sts.amazonaws.com/", "us-east-1"],
    [{ AWS_STS_REGIONAL_ENDPOINTS: "legacy", AWS_ENDPOINT_URL_STS: "https://vpce/" }, "https://vpce/", "eu-west-3"],
    [{ AWS_ENDPOINT_URL: "https://all/", AWS_ENDPOINT_URL_STS: "https://vpce/" }, "https://vpce/", "eu-west-3"],
    [{ AWS_ENDPOINT_URL: "https://all/" }, "https://all/", "eu-west-3"],
  ])("with %j is %s", (env, endpoint, region) => {
    expect(stsPlace("eu-west-3", "amazonaws.com", env)).toEqual({ endpoint: new URL(endpoint), region });
  });

  it("is the region's where there was never a global one", () => {
    const legacy = { AWS_STS_REGIONAL_ENDPOINTS: "legacy" };
    expect(stsPlace("eu-south-2", "amazonaws.com", legacy).endpoint.host).toBe("sts.eu-south-2.amazonaws.com");
    const china = stsPlace("cn-north-1", awsDomain("cn-north-1"), legacy);
    expect(china).toEqual({ endpoint: new URL("https://sts.cn-north-1.amazonaws.com.cn/"), region: "cn-north-1" });
  });
});
