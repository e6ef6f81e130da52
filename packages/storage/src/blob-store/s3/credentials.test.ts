import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCredentials } from "./credentials.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "s3-credentials-"));
});
afterAll(() => rm(folder, { recursive: true }));

const env = { AWS_ACCESS_KEY_ID: "env-id", AWS_SECRET_ACCESS_KEY: "env-secret", AWS_SESSION_TOKEN: "env-token" };

describe("S3 credentials", () => {
  it("come from files, read again when they change, before the environment", async () => {
    const files = {
      accessKeyIdFile: join(folder, "id"),
      secretAccessKeyFile: join(folder, "secret"),
      sessionTokenFile: join(folder, "token"),
    };
    for (const [name, path] of Object.entries(files)) await writeFile(path, `${name}\n`);
    const credentials = createCredentials(files, env);
    const first = { accessKeyId: "accessKeyIdFile", secretAccessKey: "secretAccessKeyFile" };
    expect(await credentials()).toEqual({ ...first, sessionToken: "sessionTokenFile" });
    await writeFile(files.sessionTokenFile, "a newer token");
    expect(await credentials()).toEqual({ ...first, sessionToken: "a newer token" });
  });

  it("come from the environment", async () => {
    const token = { accessKeyId: "env-id", secretAccessKey: "env-secret", sessionToken: "env-token" };
    expect(await createCredentials({}, env)()).toEqual(token);
    const { sessionToken } = await createCredentials({}, { ...env, AWS_SESSION_TOKEN: "" })();
    expect(sessionToken).toBeUndefined();
  });

  it("are missed at once", () => {
    expect(() => createCredentials({}, {})).toThrow("accessKeyIdFile");
    expect(() => createCredentials({}, { AWS_ACCESS_KEY_ID: "id" })).toThrow("AWS_SECRET_ACCESS_KEY");
  });
});
