import { createScriptedRegistry } from "@cache-registry/registry-client/testing/scripted-registry";
import { afterEach, beforeEach, expect, it } from "vitest";
import { MANIFEST, type NginxScene, startNginxScene } from "./testing/nginx-scene.ts";

let scene: NginxScene;

beforeEach(async () => {
  scene = await startNginxScene();
});

afterEach(() => scene.proxy.close());

it("Authorization in mirror mode is for the upstream alone, otherwise for the cache alone", async () => {
  scene.cacheAnswers(404);
  const authorization = `Basic ${Buffer.from("user:secret").toString("base64")}`;
  scene.proxy.upstream.intercept = (request, response) => {
    if (request.headers.authorization === authorization) return false;
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return true;
  };
  expect(await scene.answeredBy("/v2/library/nginx/manifests/1.27?ns=docker.io", { authorization })).toBe("upstream");
  expect(scene.proxy.cache.requests.at(-1)?.headers.authorization).toBeUndefined();
  expect(await scene.answeredBy(MANIFEST, { authorization })).toBe("401");
  expect(scene.proxy.cache.requests.at(-1)?.headers.authorization).toBe(authorization);
  expect(scene.proxy.upstream.requests.at(-1)?.headers.authorization).toBeUndefined();
});

it("a private repository in mirror mode is refused without a challenge, so that its credentials stay with its registry", async () => {
  const path = "/v2/library/nginx/manifests/1.27?ns=docker.io";
  scene.cacheAnswers(401, { "www-authenticate": 'Basic realm="cache"' });
  const refused = await scene.proxy.ask(path);
  expect({ status: refused.status, challenge: refused.headers["www-authenticate"] }).toEqual({ status: 401 });
  expect(scene.proxy.upstream.requests).toHaveLength(0);
  scene.cacheAnswers(404);
  scene.proxy.upstream.intercept = (_request, response) => {
    response.writeHead(401, { "www-authenticate": 'Basic realm="upstream"' }).end();
    return true;
  };
  const second = await scene.proxy.ask(path);
  expect({ status: second.status, challenge: second.headers["www-authenticate"] }).toEqual({ status: 401 });
});

it("what a client shows its registry is in no log, also where the upstream fails or leads elsewhere", async () => {
  const secret = "c2VjcmV0LW9mLXRoZS1wb2Q=";
  const elsewhere = await createScriptedRegistry();
  const digest = elsewhere.addBlob(Buffer.from("content"));
  scene.cacheAnswers(404);
  scene.proxy.upstream.intercept = (request, response) => {
    if (!request.url?.includes("/blobs/")) response.writeHead(500).end();
    else response.writeHead(307, { location: `${elsewhere.url}${request.url}` }).end();
    return true;
  };
  const headers = { authorization: `Basic ${secret}` };
  expect((await scene.proxy.ask("/v2/library/nginx/manifests/1.27?ns=docker.io", { headers })).status).toBe(502);
  expect(await scene.proxy.ask(`/v2/library/nginx/blobs/${digest}?ns=docker.io`, { headers })).toMatchObject({
    status: 200,
  });
  expect(
    scene.proxy.upstream.requests.every((request) => request.headers.authorization === headers.authorization),
  ).toBe(true);
  expect(elsewhere.requests[0]?.headers.authorization).toBeUndefined();
  expect(scene.proxy.cache.requests.some((request) => request.headers.authorization)).toBe(false);
  expect(scene.proxy.log()).toContain("the upstream did not help");
  expect(scene.proxy.log()).not.toContain(secret);
  await elsewhere.stop();
});
