import { createScriptedRegistry, manifestBytes } from "@cache-registry/registry-client/testing/scripted-registry";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type RunningProxy, startProxy } from "./testing/running-proxy.ts";

const MANIFEST = "/v2/docker.io/library/nginx/manifests/1.27";
const inCache = manifestBytes("cache");
const inUpstream = manifestBytes("upstream");

let proxy: RunningProxy;

beforeEach(async () => {
  proxy = await startProxy();
  proxy.cache.addManifest("docker.io/library/nginx", inCache, "1.27");
  proxy.cache.addManifest("library/nginx", inCache, "1.27");
  proxy.upstream.addManifest("library/nginx", inUpstream, "1.27");
});

afterEach(() => proxy.close());

/** Who answered. */
async function answeredBy(path = MANIFEST, headers: Record<string, string> = {}): Promise<string> {
  const { status, body } = await proxy.ask(path, { headers });
  if (body.equals(inCache)) return "cache";
  if (body.equals(inUpstream)) return "upstream";
  return String(status);
}

function cacheAnswers(status: number, headers: Record<string, string> = {}): void {
  proxy.cache.intercept = (_request, response) => {
    response.writeHead(status, headers).end(JSON.stringify({ errors: [] }));
    return true;
  };
}

it("Authorization in mirror mode is for the upstream alone, otherwise for the cache alone", async () => {
  cacheAnswers(404);
  const authorization = `Basic ${Buffer.from("user:secret").toString("base64")}`;
  proxy.upstream.intercept = (request, response) => {
    if (request.headers.authorization === authorization) return false;
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return true;
  };
  expect(await answeredBy("/v2/library/nginx/manifests/1.27?ns=docker.io", { authorization })).toBe("upstream");
  expect(proxy.cache.requests.at(-1)?.headers.authorization).toBeUndefined();
  expect(await answeredBy(MANIFEST, { authorization })).toBe("401");
  expect(proxy.cache.requests.at(-1)?.headers.authorization).toBe(authorization);
  expect(proxy.upstream.requests.at(-1)?.headers.authorization).toBeUndefined();
});

it("a private repository in mirror mode is refused without a challenge, so that its credentials stay with its registry", async () => {
  const path = "/v2/library/nginx/manifests/1.27?ns=docker.io";
  cacheAnswers(401, { "www-authenticate": 'Basic realm="cache"' });
  const refused = await proxy.ask(path);
  expect({ status: refused.status, challenge: refused.headers["www-authenticate"] }).toEqual({ status: 401 });
  expect(proxy.upstream.requests).toHaveLength(0);
  cacheAnswers(404);
  proxy.upstream.intercept = (_request, response) => {
    response.writeHead(401, { "www-authenticate": 'Basic realm="upstream"' }).end();
    return true;
  };
  const second = await proxy.ask(path);
  expect({ status: second.status, challenge: second.headers["www-authenticate"] }).toEqual({ status: 401 });
});

it("what a client shows its registry is in no log, also where the upstream fails or leads elsewhere", async () => {
  const secret = "c2VjcmV0LW9mLXRoZS1wb2Q=";
  const elsewhere = await createScriptedRegistry();
  const digest = elsewhere.addBlob(Buffer.from("content"));
  cacheAnswers(404);
  proxy.upstream.intercept = (request, response) => {
    if (!request.url?.includes("/blobs/")) response.writeHead(500).end();
    else response.writeHead(307, { location: `${elsewhere.url}${request.url}` }).end();
    return true;
  };
  const headers = { authorization: `Basic ${secret}` };
  expect((await proxy.ask("/v2/library/nginx/manifests/1.27?ns=docker.io", { headers })).status).toBe(502);
  expect(await proxy.ask(`/v2/library/nginx/blobs/${digest}?ns=docker.io`, { headers })).toMatchObject({
    status: 200,
  });
  expect(proxy.upstream.requests.every((request) => request.headers.authorization === headers.authorization)).toBe(
    true,
  );
  expect(elsewhere.requests[0]?.headers.authorization).toBeUndefined();
  expect(proxy.cache.requests.some((request) => request.headers.authorization)).toBe(false);
  expect(proxy.log()).toContain("the upstream did not help");
  expect(proxy.log()).not.toContain(secret);
  await elsewhere.stop();
});
