import { createVerify, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSecretFile } from "../secret.ts";
import { createAzureTokens } from "./azure.ts";
import { createGoogleMetadataTokens, createServiceAccountTokens } from "./google.ts";
import { createTokenSource } from "./token-source.ts";

const SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
type Seen = { readonly method: string; readonly url: URL; readonly headers: IncomingMessage["headers"]; body: string };
let server: Server;
let base: string;
let folder: string;
let seen: Seen[] = [];
let answers: { status: number; body: string }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloud-identity-"));
  const react = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = "", url = "", headers } = request;
    const received: Seen = { method, url: new URL(url, base), headers, body: "" };
    seen.push(received);
    for await (const chunk of request) received.body += String(chunk);
    const { status, body } = (answers.length > 1 ? answers.shift() : answers[0]) ?? { status: 500, body: "" };
    response.writeHead(status).end(body);
  };
  server = createServer((request, response) => void react(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  base = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  seen = [];
  answers = [];
});

const granted = (token: string, lifetime: number | string = 3_600) => ({
  status: 200,
  body: JSON.stringify({ access_token: token, expires_in: lifetime, token_type: "Bearer" }),
});

async function keyFile(more: object = {}) {
  const path = join(folder, "key.json");
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  const account = { type: "service_account", client_email: "cache@project.example", private_key: key };
  await writeFile(path, JSON.stringify({ ...account, private_key_id: "key-1", token_uri: `${base}/token`, ...more }));
  return createSecretFile(path);
}

function unexpected(): never {
  throw new Error("there is a token");
}

describe("a service account of Google", () => {
  it("signs an assertion with its key", async () => {
    answers = [granted("t-1")];
    const tokens = createServiceAccountTokens(await keyFile(), { scope: SCOPE });
    expect((await tokens.token()).value).toBe("t-1");
    const form = new URLSearchParams(seen[0]?.body);
    expect(form.get("grant_type")).toBe("urn:ietf:params:oauth:grant-type:jwt-bearer");
    const [header = "", claims = "", signature = ""] = (form.get("assertion") ?? "").split(".");
    const decoded = [header, claims].map((part) => JSON.parse(Buffer.from(part, "base64url").toString()));
    expect(decoded).toMatchObject([
      { alg: "RS256", kid: "key-1" },
      { iss: "cache@project.example", scope: SCOPE, aud: `${base}/token` },
    ]);
    expect(decoded[1].exp - decoded[1].iat).toBe(3_600);
    const verify = createVerify("RSA-SHA256").update(`${header}.${claims}`);
    expect(verify.verify(publicKey, signature, "base64url")).toBe(true);
  });

  it("reads its file again, and shows nothing of it", async () => {
    const file = await keyFile();
    answers = [granted("t-1")];
    const tokens = createServiceAccountTokens(file, { scope: SCOPE });
    const { value } = await tokens.token();
    await keyFile({ client_email: "other@project.example" });
    tokens.forget(value);
    await tokens.token();
    const [, claims = ""] = (new URLSearchParams(seen[1]?.body).get("assertion") ?? "").split(".");
    expect(Buffer.from(claims, "base64url").toString()).toContain("other@project.example");
    for (const content of ["do-not-show", `{"type":"do-not-show"}`, JSON.stringify({ private_key: "do-not-show" })]) {
      await writeFile(file.path, content);
      tokens.forget("t-1");
      const failure: Error = await tokens.token().then(unexpected, (error: Error) => error);
      expect(failure).toMatchObject({ name: "IdentityError", transient: false });
      expect(failure.message).not.toContain("do-not-show");
    }
  });
});

it("the metadata server of Google is asked as it wants to be", async () => {
  answers = [granted("t-2")];
  const tokens = createGoogleMetadataTokens({ scope: `${SCOPE} other`, host: new URL(base).host });
  expect((await tokens.token()).value).toBe("t-2");
  expect(seen[0]?.url.pathname).toBe("/computeMetadata/v1/instance/service-accounts/default/token");
  expect(seen[0]?.url.searchParams.get("scopes")).toBe(`${SCOPE},other`);
  expect(seen[0]?.headers["metadata-flavor"]).toBe("Google");
});

describe("identities of Azure", () => {
  const resource = "https://storage.azure.com";

  it("are the machine's without more", async () => {
    answers = [granted("t-3", "86399")];
    const env = { AZURE_CLIENT_ID: "client", AZURE_POD_IDENTITY_AUTHORITY_HOST: base };
    const tokens = createAzureTokens({ resource, env, now: () => 1_000 });
    expect(await tokens.token()).toEqual({ value: "t-3", expiresAt: 1_000 + 86_399_000 });
    expect(seen[0]?.headers.metadata).toBe("true");
    expect(Object.fromEntries(seen[0]?.url.searchParams ?? [])).toEqual({
      "api-version": "2018-02-01",
      resource,
      client_id: "client",
    });
  });

  it("are the pod's where its token is in a file, which is read each time", async () => {
    const file = join(folder, "federated");
    await writeFile(file, "assertion-1\n");
    answers = [granted("t-4")];
    const env = {
      AZURE_FEDERATED_TOKEN_FILE: file,
      AZURE_TENANT_ID: "tenant",
      AZURE_CLIENT_ID: "client",
      AZURE_AUTHORITY_HOST: `${base}/`,
    };
    const tokens = createAzureTokens({ resource, env });
    const { value } = await tokens.token();
    await writeFile(file, "assertion-two\n");
    tokens.forget(value);
    await tokens.token();
    expect(seen[0]?.url.pathname).toBe("/tenant/oauth2/v2.0/token");
    const forms = seen.map(({ body }) => Object.fromEntries(new URLSearchParams(body)));
    expect(forms[0]).toEqual({
      grant_type: "client_credentials",
      client_id: "client",
      scope: `${resource}/.default`,
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion: "assertion-1",
    });
    expect(forms[1]?.client_assertion).toBe("assertion-two");
  });
});

describe("a token", () => {
  it("is asked for once by many, and again shortly before its end", async () => {
    let now = 0;
    let asked = 0;
    const tokens = createTokenSource(async () => ({ value: String(++asked), expiresAt: now + 3_600_000 }), {
      now: () => now,
    });
    const values = await Promise.all([tokens.token(), tokens.token(), tokens.token()]);
    expect(values.map(({ value }) => value)).toEqual(["1", "1", "1"]);
    now = 3_300_000;
    expect((await tokens.token()).value).toBe("1");
    now = 3_400_000;
    expect((await tokens.token()).value).toBe("1");
    await expect.poll(async () => (await tokens.token()).value).toBe("2");
    now += 3_599_000;
    expect((await tokens.token()).value).toBe("3");
    now -= 3_599_000;
    tokens.forget("1");
    expect((await tokens.token()).value).toBe("3");
  });

  it("is used to its end when it cannot be renewed, without asking all the time", async () => {
    let now = 0;
    let asked = 0;
    const tokens = createTokenSource(
      async () => {
        asked += 1;
        if (asked > 1) throw new Error("away");
        return { value: "1", expiresAt: 3_600_000 };
      },
      { now: () => now },
    );
    await tokens.token();
    now = 3_500_000;
    await tokens.token();
    await setImmediate();
    expect((await tokens.token()).value).toBe("1");
    await setImmediate();
    expect(asked).toBe(2);
    now = 3_600_000;
    await expect(tokens.token()).rejects.toThrow("away");
  });

  it.each([
    [
      "a refusal",
      { status: 400, body: '{"error":"invalid_grant","error_description":"secret"}' },
      false,
      "400 invalid_grant",
    ],
    ["a server in trouble", { status: 503, body: "secret" }, true, "503"],
    ["another document", { status: 200, body: "<html>secret" }, false, "without a token"],
    ["a document without an end", { status: 200, body: "secret".repeat(100_000) }, true, "too long"],
  ])("is not had from %s", async (_what, answer, transient, message) => {
    answers = [answer];
    const tokens = createGoogleMetadataTokens({ scope: SCOPE, host: new URL(base).host });
    const failure: Error = await tokens.token().then(unexpected, (error: Error) => error);
    expect(failure).toMatchObject({ name: "IdentityError", transient });
    expect(failure.message).toContain(message);
    expect(failure.message).not.toContain("secret");
  });
});
