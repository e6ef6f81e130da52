import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedService, startScriptedService } from "../testing/scripted-service.ts";
import { isSigned } from "../testing/verify-signature.ts";
import { createAwsCredentials } from "./aws-credentials.ts";
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

function credentials(env: Environment, roleArn?: string) {
  return createAwsCredentials({
    send: createCloudRequests(),
    env,
    region: "eu-west-3",
    domain: "amazonaws.com",
    roleArn,
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
    expect(String(error)).toBe(`IdentityError: ${service.host}: answered 400 InvalidIdentityToken`);
  });
});
