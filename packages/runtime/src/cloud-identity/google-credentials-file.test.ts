import { createVerify, generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedService, startScriptedService } from "../testing/scripted-service.ts";
import type { Environment } from "./cloud-request.ts";
import { createGoogleTokens } from "./google-credentials-file.ts";

const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ACCOUNT = "puller@project.iam.gserviceaccount.com";
const SCOPE = "https://www.googleapis.com/auth/cloud-platform";

let service: ScriptedService;
let folder: string;
let file: string;

beforeEach(async () => {
  service = await startScriptedService();
  folder = await mkdtemp(join(tmpdir(), "google-"));
  file = join(folder, "credentials.json");
});
afterEach(async () => {
  await service.close();
  await rm(folder, { recursive: true });
});

async function tokenFor(credentials: object | string, env: Environment = {}): Promise<string> {
  await writeFile(file, typeof credentials === "string" ? credentials : JSON.stringify(credentials));
  return (await createGoogleTokens({ scope: SCOPE, env, credentialsFile: file }).token()).value;
}

/** The claims of a JWT that the key has signed with RS256; undefined: it did not. */
function claimsOf(jwt: string): Record<string, unknown> | undefined {
  const [header = "", claims = "", signature = ""] = jwt.split(".");
  const parse = (part: string) =>
    JSON.parse(Buffer.from(part, "base64url").toString("utf8")) as Record<string, unknown>;
  const valid = createVerify("RSA-SHA256").update(`${header}.${claims}`).verify(publicKey, signature, "base64url");
  return valid && parse(header).alg === "RS256" && parse(header).kid === "key-1" ? parse(claims) : undefined;
}

describe("a token of Google", () => {
  it("is had with the key of a service account", async () => {
    service.answer = ({ form }) => {
      const claims = claimsOf(form.assertion ?? "");
      const now = Date.now() / 1000;
      const good =
        form.grant_type === "urn:ietf:params:oauth:grant-type:jwt-bearer" &&
        claims?.iss === ACCOUNT &&
        claims.aud === `${service.url}/token` &&
        claims.scope === SCOPE &&
        Math.abs(Number(claims.iat) - now) < 60 &&
        Number(claims.exp) - Number(claims.iat) === 3600;
      return good
        ? { body: { access_token: "ya29.a", expires_in: 3599, token_type: "Bearer" } }
        : { status: 400, body: { error: "invalid_grant" } };
    };
    const account = {
      type: "service_account",
      client_email: ACCOUNT,
      private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
      private_key_id: "key-1",
      token_uri: `${service.url}/token`,
    };
    expect(await tokenFor(account)).toBe("ya29.a");
    await expect(tokenFor({ ...account, client_email: "other" })).rejects.toThrow("answered 400 invalid_grant");
    const env = { GOOGLE_APPLICATION_CREDENTIALS: file };
    await writeFile(file, JSON.stringify(account));
    expect(await createGoogleTokens({ scope: SCOPE, env }).token()).toMatchObject({ value: "ya29.a" });
  });

  it("is had with a user's refresh token", async () => {
    service.answer = ({ form }) => ({ body: { access_token: JSON.stringify(form), expires_in: 3599 } });
    const user = {
      type: "authorized_user",
      client_id: "id",
      client_secret: "s",
      refresh_token: "r",
      token_uri: service.url,
    };
    expect(JSON.parse(await tokenFor(user))).toEqual({
      grant_type: "refresh_token",
      client_id: "id",
      client_secret: "s",
      refresh_token: "r",
    });
  });

  it("is had from the metadata server, for a machine or a pod", async () => {
    service.answer = ({ url, headers }) =>
      url.pathname === "/computeMetadata/v1/instance/service-accounts/default/token" &&
      headers["metadata-flavor"] === "Google"
        ? { body: { access_token: "ya29.m", expires_in: 3000, token_type: "Bearer" } }
        : { status: 403 };
    const env = { GCE_METADATA_HOST: service.host };
    expect(await createGoogleTokens({ scope: SCOPE, env }).token()).toMatchObject({ value: "ya29.m" });
  });

  describe("by workload identity federation", () => {
    const external = (source: object, more: object = {}) => ({
      type: "external_account",
      audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      token_url: `${service.url}/v1/token`,
      credential_source: source,
      ...more,
    });

    it("exchanges the token in a file", async () => {
      const subject = join(folder, "subject");
      await writeFile(subject, "subject-jwt\n");
      service.answer = ({ form }) => ({ body: { access_token: JSON.stringify(form), expires_in: 3600 } });
      expect(JSON.parse(await tokenFor(external({ file: subject })))).toEqual({
        grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
        audience: external({}).audience,
        scope: SCOPE,
        requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
        subject_token: "subject-jwt",
      });
    });

    it("exchanges the token at a URL, and takes a service account's place", async () => {
      service.answer = ({ url, headers, form, body }) => {
        if (url.pathname === "/subject")
          return headers["x-key"] === "k" ? { body: { value: "subject-jwt" } } : { status: 403 };
        if (url.pathname === "/v1/token")
          return form.subject_token === "subject-jwt"
            ? { body: { access_token: "federated", expires_in: 3600 } }
            : { status: 400 };
        const asked = JSON.parse(body) as unknown;
        expect(asked).toEqual({ scope: [SCOPE], lifetime: "3600s" });
        const expireTime = new Date(Date.now() + 3_600_000).toISOString();
        return headers.authorization === "Bearer federated"
          ? { body: { accessToken: "ya29.i", expireTime } }
          : { status: 401 };
      };
      const format = { type: "json", subject_token_field_name: "value" };
      const source = { url: `${service.url}/subject`, headers: { "X-Key": "k" }, format };
      const url = `${service.url}/v1/projects/-/serviceAccounts/${ACCOUNT}:generateAccessToken`;
      expect(await tokenFor(external(source, { service_account_impersonation_url: url }))).toBe("ya29.i");
    });

    it("refuses a program as the source", async () => {
      await expect(tokenFor(external({ executable: { command: "/bin/evil" } }))).rejects.toThrow(
        "no supported workload identity",
      );
    });
  });

  it("is refused without quoting the file or the answer", async () => {
    for (const text of ["hunter2", '{"type":"service_account","private_key":"hunter2"}']) {
      const error: unknown = await tokenFor(text).catch((thrown: unknown) => thrown);
      expect(String(error)).toContain(`${file} is no `);
      expect(String(error)).not.toContain("hunter2");
    }
    service.answer = () => ({ body: "hunter2" });
    const user = {
      type: "authorized_user",
      client_id: "i",
      client_secret: "s",
      refresh_token: "r",
      token_uri: service.url,
    };
    await expect(tokenFor(user)).rejects.toThrow("answered without a token");
  });
});
