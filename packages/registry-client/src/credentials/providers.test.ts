import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { createLogger } from "@cache-registry/runtime/logger";
import { type ScriptedService, startScriptedService } from "@cache-registry/runtime/testing/scripted-service";
import { isSigned } from "@cache-registry/runtime/testing/verify-signature";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createUpstreamClient, type UpstreamClient } from "../client.ts";
import { proxyFromEnvironment } from "../forward-proxy/forward-proxy.ts";
import {
  answerJson,
  createScriptedRegistry,
  manifestBytes,
  type ScriptedRegistry,
} from "../testing/scripted-registry.ts";
import { upstreamListSchema } from "../upstream.ts";
import { placeOf } from "./ecr.ts";

/* Registries of clouds, whose services are on loopback and check what the real ones check. */

const REPOSITORY = "team/app";
const basic = (credentials: string) => `Basic ${Buffer.from(credentials).toString("base64")}`;

let registry: ScriptedRegistry;
let cloud: ScriptedService;
let lines: string[];
const clients: UpstreamClient[] = [];

function createClient(name: string, credentials: object, env: Record<string, string>): UpstreamClient {
  const upstreams = upstreamListSchema.parse([{ registry: name, endpoints: [registry.url], credentials }]);
  const logger = createLogger({
    component: "test",
    level: "trace",
    destination: { write: (line: string) => void lines.push(line) },
  });
  const client = createUpstreamClient({
    upstreams,
    policy: "public",
    logger,
    env,
    proxyFor: proxyFromEnvironment(env),
  });
  clients.push(client);
  return client;
}

beforeEach(async () => {
  registry = await createScriptedRegistry();
  cloud = await startScriptedService();
  lines = [];
  registry.addManifest(REPOSITORY, manifestBytes("a"), "1");
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await Promise.all([registry.stop(), cloud.close()]);
});

describe("ECR", () => {
  const name = "123456789012.dkr.ecr.eu-west-3.amazonaws.com";
  const at = { registry: name, repository: REPOSITORY, reference: "1" };
  const keys = { AWS_ACCESS_KEY_ID: "AKID", AWS_SECRET_ACCESS_KEY: "hunter2", AWS_SESSION_TOKEN: "session" };
  const target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
  let password: string;

  beforeEach(() => {
    password = "first";
    registry.intercept = (request, response) =>
      request.headers.authorization === basic(`AWS:${password}`)
        ? false
        : answerJson(
            response,
            401,
            {},
            { "www-authenticate": `Basic realm="https://${name}/",service="ecr.amazonaws.com"` },
          );
    cloud.answer = (request) => {
      const signing = { secretAccessKey: "hunter2", region: "eu-west-3", service: "ecr" };
      if (!isSigned(request, signing))
        return { status: 400, body: { __type: "InvalidSignatureException", message: request.body } };
      if (request.headers["x-amz-target"] !== target) return { status: 404 };
      const data = {
        authorizationToken: Buffer.from(`AWS:${password}`).toString("base64"),
        expiresAt: Date.now() / 1000 + 43_200,
      };
      return { body: { authorizationData: [{ ...data, proxyEndpoint: `https://${name}` }] } };
    };
  });

  it("gives a password for a signed request, once for all who wait", async () => {
    const client = createClient(name, { provider: "ecr" }, { ...keys, AWS_ENDPOINT_URL_ECR: cloud.url });
    await Promise.all([client.getManifest(at), client.getManifest(at), client.getManifest(at)]);
    await client.getManifest(at);
    expect(cloud.requests).toHaveLength(1);
    expect(cloud.requests[0]).toMatchObject({ method: "POST", body: "{}" });
    expect(cloud.requests[0]?.headers["content-type"]).toBe("application/x-amz-json-1.1");
  });

  it("is asked anew, within the request, when the registry no longer takes the password", async () => {
    const clock = vi.spyOn(performance, "now");
    try {
      const client = createClient(name, { provider: "ecr" }, { ...keys, AWS_ENDPOINT_URL_ECR: cloud.url });
      const start = performance.now();
      await client.getManifest(at);
      password = "second";
      clock.mockImplementation(() => start + 5_000);
      await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
      expect(cloud.requests).toHaveLength(1);
      clock.mockImplementation(() => start + 60_000);
      await client.getManifest(at);
      expect(cloud.requests).toHaveLength(2);
    } finally {
      clock.mockRestore();
    }
  });

  it("is reached through a proxy", async () => {
    const asked: string[] = [];
    const proxy = createServer((incoming, response) => {
      const { url = "", method, headers } = incoming;
      asked.push(url);
      const { port } = new URL(cloud.url);
      const onward = request({ host: "127.0.0.1", port, method, headers, path: new URL(url).pathname });
      onward.once("response", (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      incoming.pipe(onward);
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    try {
      const HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      const env = { ...keys, AWS_ENDPOINT_URL_ECR: "http://ecr.cloud.test", HTTP_PROXY };
      await createClient(name, { provider: "ecr" }, env).getManifest(at);
      expect(asked).toEqual(["http://ecr.cloud.test/"]);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  it("that refuses counts as refused credentials, and its reason is told without secrets", async () => {
    const env = { ...keys, AWS_SECRET_ACCESS_KEY: "s3cret", AWS_ENDPOINT_URL_ECR: cloud.url };
    const client = createClient(name, { provider: "ecr" }, env);
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    expect(cloud.requests).toHaveLength(1);
    const all = lines.join("");
    expect(all).toContain(`${cloud.host}: answered 400 InvalidSignatureException`);
    for (const secret of ["s3cret", "session"]) expect(all).not.toContain(secret);
  });

  it.each([
    [name, "https://api.ecr.eu-west-3.amazonaws.com/", "amazonaws.com"],
    [
      "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
      "https://ecr-fips.us-gov-west-1.amazonaws.com/",
      "amazonaws.com",
    ],
    [
      "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
      "https://api.ecr.cn-north-1.amazonaws.com.cn/",
      "amazonaws.com.cn",
    ],
    ["123456789012.dkr-ecr.eu-west-1.on.aws", "https://api.ecr.eu-west-1.amazonaws.com/", "amazonaws.com"],
  ])("%s is asked at %s", (registryName, api, domain) => {
    expect(placeOf(registryName, undefined, {})).toMatchObject({ api, domain });
  });

  it("under another name needs a region", () => {
    expect(() => placeOf("registry.example.com", undefined, {})).toThrow("the key region is needed");
    expect(placeOf("registry.example.com", "eu-west-1", {}).region).toBe("eu-west-1");
    expect(placeOf("registry.example.com", undefined, { AWS_REGION: "eu-west-2" }).region).toBe("eu-west-2");
  });
});

describe("gcr.io and pkg.dev", () => {
  it("take an access token as a password, at their token service", async () => {
    cloud.answer = ({ headers }) =>
      headers["metadata-flavor"] === "Google"
        ? { body: { access_token: "ya29.m", expires_in: 3000 } }
        : { status: 403 };
    registry.intercept = (request, response) => {
      if (request.url?.startsWith("/v2/token")) {
        const good = request.headers.authorization === basic("oauth2accesstoken:ya29.m");
        return answerJson(response, good ? 200 : 401, good ? { token: "t1", expires_in: 300 } : {});
      }
      if (request.headers.authorization === "Bearer t1") return false;
      const challenge = `Bearer realm="${registry.url}/v2/token",service="europe-docker.pkg.dev"`;
      return answerJson(response, 401, {}, { "www-authenticate": challenge });
    };
    const client = createClient("europe-docker.pkg.dev", { provider: "gcp" }, { GCE_METADATA_HOST: cloud.host });
    const at = { registry: "europe-docker.pkg.dev", repository: REPOSITORY, reference: "1" };
    await client.getManifest(at);
    await client.getManifest(at);
    expect(cloud.requests).toHaveLength(1);
  });
});

describe("ACR", () => {
  const name = "example.azurecr.io";
  const at = { registry: name, repository: REPOSITORY, reference: "1" };
  const now = Math.floor(Date.now() / 1000);
  const refreshToken = [
    "h",
    Buffer.from(JSON.stringify({ iat: now, exp: now + 10_800 })).toString("base64url"),
    "s",
  ].join(".");
  let forms: Record<string, string>[];

  beforeEach(() => {
    forms = [];
    cloud.answer = ({ form }) =>
      form.client_secret === "hunter2"
        ? { body: { access_token: "entra", expires_in: 3599 } }
        : { status: 401, body: { error: "invalid_client" } };
    registry.intercept = (request, response) => {
      if (request.url?.startsWith("/oauth2/")) {
        void text(request).then((body) => {
          const form = Object.fromEntries(new URLSearchParams(body));
          forms.push(form);
          if (request.url === "/oauth2/exchange" && form.grant_type === "access_token" && form.access_token === "entra")
            return answerJson(response, 200, { refresh_token: refreshToken });
          if (request.url === "/oauth2/token" && form.refresh_token === refreshToken)
            return answerJson(response, 200, { access_token: "t1" });
          return answerJson(response, 401, { errors: [{ code: "UNAUTHORIZED", message: body }] });
        });
        return true;
      }
      if (request.headers.authorization === "Bearer t1") return false;
      const challenge = `Bearer realm="${registry.url}/oauth2/token",service="${name}",scope="repository:${REPOSITORY}:pull"`;
      return answerJson(response, 401, {}, { "www-authenticate": challenge });
    };
  });
  const env = () => ({
    AZURE_AUTHORITY_HOST: cloud.url,
    AZURE_TENANT_ID: "tenant",
    AZURE_CLIENT_ID: "app",
    AZURE_CLIENT_SECRET: "hunter2",
  });

  it("exchanges a token of Entra ID for a refresh token, and that for tokens", async () => {
    const client = createClient(name, { provider: "acr" }, env());
    await Promise.all([client.getManifest(at), client.getManifest(at)]);
    await client.getManifest(at);
    expect(cloud.requests).toHaveLength(1);
    expect(forms).toEqual([
      { grant_type: "access_token", service: name, access_token: "entra", tenant: "tenant" },
      {
        grant_type: "refresh_token",
        refresh_token: refreshToken,
        client_id: "cache-registry",
        service: name,
        scope: `repository:${REPOSITORY}:pull`,
      },
    ]);
  });

  it("that refuses the exchange is told by code, without the token", async () => {
    cloud.answer = () => ({ body: { access_token: "s3cret", expires_in: 3599 } });
    const client = createClient(name, { provider: "acr" }, env());
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    expect(lines.join("")).toContain("the exchange answered 401 UNAUTHORIZED");
    expect(lines.join("")).not.toContain("s3cret");
    expect(lines.join("")).not.toContain("hunter2");
  });
});
