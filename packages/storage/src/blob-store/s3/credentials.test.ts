import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@cache-registry/runtime/logger";
import { startScriptedService } from "@cache-registry/runtime/testing/scripted-service";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCredentials } from "./credentials.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "s3-credentials-"));
});
afterAll(() => rm(folder, { recursive: true }));

const region = "eu-west-1";
const env = { AWS_ACCESS_KEY_ID: "env-id", AWS_SECRET_ACCESS_KEY: "env-secret", AWS_SESSION_TOKEN: "env-token" };

describe("S3 credentials", () => {
  it("come from files, read again when they change, before the environment", async () => {
    const files = {
      accessKeyIdFile: join(folder, "id"),
      secretAccessKeyFile: join(folder, "secret"),
      sessionTokenFile: join(folder, "token"),
    };
    for (const [name, path] of Object.entries(files)) await writeFile(path, `${name}\n`);
    const { credentials } = createCredentials({ ...files, region }, { env });
    const first = { accessKeyId: "accessKeyIdFile", secretAccessKey: "secretAccessKeyFile" };
    expect(await credentials()).toEqual({ ...first, sessionToken: "sessionTokenFile" });
    await writeFile(files.sessionTokenFile, "a newer token");
    expect(await credentials()).toEqual({ ...first, sessionToken: "a newer token" });
  });

  it("come from the environment", async () => {
    const token = { accessKeyId: "env-id", secretAccessKey: "env-secret", sessionToken: "env-token" };
    expect(await createCredentials({ region }, { env }).credentials()).toEqual(token);
    const without = createCredentials({ region }, { env: { ...env, AWS_SESSION_TOKEN: "" } });
    expect((await without.credentials()).sessionToken).toBeUndefined();
  });

  it("come from the role of the service account, by STS where the pod runs", async () => {
    const service = await startScriptedService();
    const tokenFile = join(folder, "web-identity");
    await writeFile(tokenFile, "jwt");
    const irsa = { AWS_ROLE_ARN: "arn:aws:iam::1:role/cache", AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile };
    const lines: unknown[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    const logger = createLogger({ component: "test", destination });
    const { credentials } = createCredentials(
      { region },
      { env: { ...irsa, AWS_REGION: "eu-west-3", AWS_ENDPOINT_URL_STS: service.url }, logger },
    );
    service.answer = () => ({ status: 403, body: "<Error><Code>AccessDenied</Code><Message>jwt</Message></Error>" });
    await expect(credentials()).rejects.toThrow("AWS_WEB_IDENTITY_TOKEN_FILE): ");
    expect(lines).toHaveLength(1);
    expect(String(lines[0])).toContain("AccessDenied");
    expect(String(lines[0])).not.toContain("jwt");
    await service.close();
  });

  it("are missed when they are wanted, with all the places where they might be", async () => {
    const { credentials } = createCredentials({ region }, { env: { AWS_EC2_METADATA_DISABLED: "true" } });
    await expect(credentials()).rejects.toThrow("none of AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE and");
    const half = createCredentials({ region }, { env: { AWS_ACCESS_KEY_ID: "id" } });
    await expect(half.credentials()).rejects.toThrow("AWS_SECRET_ACCESS_KEY is not");
  });
});
