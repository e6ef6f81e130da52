import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inCache, inUpstream, MANIFEST, type NginxScene, startNginxScene } from "./testing/nginx-scene.ts";

let scene: NginxScene;

beforeEach(async () => {
  scene = await startNginxScene();
});

afterEach(() => scene.proxy.close());

describe("the table", () => {
  it("the cache is asked first, and its answer is passed on as it is", async () => {
    scene.proxy.cache.intercept = (_request, response) => {
      response.setHeader("warning", '299 - "stale"');
      response.setHeader("connection", "close, x-hop");
      response.setHeader("x-hop", "1");
      return false;
    };
    const { status, headers, body } = await scene.proxy.ask(MANIFEST, { headers: { accept: "a/b", cookie: "secret" } });
    expect({ status, body: body.equals(inCache) }).toEqual({ status: 200, body: true });
    expect(headers).toMatchObject({
      "content-type": "application/vnd.oci.image.manifest.v1+json",
      "content-length": String(inCache.length),
      "docker-content-digest": expect.stringMatching(/^sha256:/),
      warning: '299 - "stale"',
    });
    expect(headers["x-hop"]).toBeUndefined();
    expect(scene.proxy.cache.requests).toMatchObject([
      { url: MANIFEST, headers: { accept: "a/b", "accept-encoding": "identity" } },
    ]);
    expect(scene.proxy.cache.requests[0]?.headers.cookie).toBeUndefined();
    expect(scene.proxy.upstream.requests).toHaveLength(0);
  });

  it.each([500, 502, 503, 504, 507, 429, 404])("%i from the cache leads to the upstream, once", async (status) => {
    scene.cacheAnswers(status);
    expect(await scene.answeredBy()).toBe("upstream");
    expect(scene.proxy.upstream.requests.map(({ url }) => url)).toEqual(["/v2/library/nginx/manifests/1.27"]);
    expect(scene.proxy.cache.requests).toHaveLength(1);
  });

  it.each([400, 401, 403, 405, 416])("%i from the cache is the answer", async (status) => {
    scene.cacheAnswers(status, { "www-authenticate": 'Basic realm="cache"' });
    const reply = await scene.proxy.ask(MANIFEST);
    expect(reply.status).toBe(status);
    expect(reply.headers["www-authenticate"]).toBe('Basic realm="cache"');
    expect(scene.proxy.upstream.requests).toHaveLength(0);
  });

  it("307 is passed on, not followed", async () => {
    scene.cacheAnswers(307, { location: "https://storage.example.com/x?signature=s" });
    const digest = `sha256:${"0".repeat(64)}`;
    const { status, headers } = await scene.proxy.ask(`/v2/docker.io/library/nginx/blobs/${digest}`);
    expect({ status, location: headers.location }).toEqual({
      status: 307,
      location: "https://storage.example.com/x?signature=s",
    });
    expect(scene.proxy.upstream.requests).toHaveLength(0);
  });

  it("a connection that breaks before the headers leads to the upstream", async () => {
    scene.proxy.cache.intercept = (request) => {
      request.socket.destroy();
      return true;
    };
    expect(await scene.answeredBy()).toBe("upstream");
  });

  it("a manifest that is cut or wrong is taken from the upstream", async () => {
    scene.proxy.cache.intercept = (_request, response) => {
      response.writeHead(200, { "content-length": 1000 }).write("{");
      setTimeout(() => response.destroy(), 20);
      return true;
    };
    expect(await scene.answeredBy()).toBe("upstream");
    const digest = scene.proxy.upstream.addManifest("library/nginx", inUpstream);
    scene.proxy.cache.intercept = (_request, response) => {
      response.end("{}");
      return true;
    };
    expect(await scene.answeredBy(`/v2/docker.io/library/nginx/manifests/${digest}`)).toBe("upstream");
  });

  it("HEAD goes the same way", async () => {
    expect(await scene.proxy.ask(MANIFEST, { method: "HEAD" })).toMatchObject({
      status: 200,
      headers: { "content-length": String(inCache.length) },
      body: Buffer.alloc(0),
    });
    scene.cacheAnswers(503);
    expect(await scene.proxy.ask(MANIFEST, { method: "HEAD" })).toMatchObject({
      status: 200,
      headers: {
        "content-length": String(inUpstream.length),
        "docker-content-digest": expect.stringMatching(/^sha256:/),
        "content-type": "application/vnd.oci.image.manifest.v1+json",
      },
    });
    expect(scene.proxy.upstream.requests.map(({ method }) => method)).toEqual(["HEAD"]);
  });

  it.each([
    [404, 404, "MANIFEST_UNKNOWN"],
    [401, 401, "UNAUTHORIZED"],
    [403, 403, "DENIED"],
    [429, 429, "TOOMANYREQUESTS"],
    [500, 502, "UPSTREAM_FAILED"],
  ])("with a cache that could not get it, the upstream's %i is %i %s", async (upstreamStatus, status, code) => {
    scene.cacheAnswers(502);
    scene.proxy.upstream.intercept = (_request, response) => {
      response.writeHead(upstreamStatus, { "retry-after": "5" }).end();
      return true;
    };
    const reply = await scene.proxy.ask(MANIFEST);
    expect(reply.status).toBe(status);
    expect(JSON.parse(reply.body.toString())).toMatchObject({ errors: [{ code }] });
    expect(reply.headers["retry-after"]).toBe(status === 429 ? "5" : undefined);
  });
});

describe("an upstream that has nothing for the node", () => {
  const upstreamAnswers = (status: number) => {
    scene.proxy.upstream.intercept = (_request, response) => {
      response.writeHead(status).end();
      return true;
    };
  };

  it.each([
    [503, 404],
    [503, 401],
    [503, 403],
    [500, 404],
    [429, 401],
  ])("is no answer while the cache, by its %i, does not say what it holds: %i", async (cache, upstream) => {
    scene.cacheAnswers(cache);
    upstreamAnswers(upstream);
    const reply = await scene.proxy.ask(MANIFEST);
    expect(reply).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
    expect(JSON.parse(reply.body.toString())).toMatchObject({ errors: [{ code: "UNAVAILABLE" }] });
    const blob = await scene.proxy.ask(`/v2/docker.io/library/nginx/blobs/sha256:${"0".repeat(64)}`);
    expect(blob.status).toBe(503);
    scene.proxy.cache.intercept = undefined;
    expect(await scene.answeredBy()).toBe("cache");
  });

  it("is none either while nobody answers for the cache, also when that is known already", async () => {
    await scene.proxy.cache.stop();
    upstreamAnswers(404);
    const statuses = [await scene.answeredBy(), await scene.answeredBy()];
    expect(statuses).toEqual(["503", "503"]);
    await scene.proxy.cache.start();
    expect(await scene.answeredBy()).toBe("cache");
  });

  it("is the answer in mirror mode, where containerd goes on by itself", async () => {
    scene.cacheAnswers(503);
    upstreamAnswers(404);
    expect(await scene.answeredBy("/v2/library/nginx/manifests/1.27?ns=docker.io")).toBe("404");
  });
});

describe("names", () => {
  it("in mirror mode the namespace goes on to the cache, and the path as it is to the upstream", async () => {
    const path = "/v2/library/nginx/manifests/1.27?ns=docker.io";
    expect(await scene.answeredBy(path)).toBe("cache");
    expect(scene.proxy.cache.requests[0]?.url).toBe(path);
    scene.cacheAnswers(404);
    const reply = await scene.proxy.ask(path);
    expect(reply).toMatchObject({ status: 200, headers: { "oci-namespace": "docker.io" } });
    expect(scene.proxy.upstream.requests[0]?.url).toBe("/v2/library/nginx/manifests/1.27");
  });

  it("a namespace that is the proxy itself is ignored", async () => {
    const { host } = new URL(scene.proxy.url);
    expect(await scene.answeredBy(`${MANIFEST}?ns=${host}`)).toBe("cache");
    expect(scene.proxy.cache.requests[0]?.url).toBe(MANIFEST);
  });

  it("a local repository is the cache's alone: 503 while that is down, its own answer otherwise", async () => {
    scene.proxy.cache.addManifest("team/app", inCache, "1");
    expect(await scene.answeredBy("/v2/team/app/manifests/1")).toBe("cache");
    expect(await scene.answeredBy("/v2/team/app/manifests/2")).toBe("404");
    scene.cacheAnswers(500);
    expect(await scene.answeredBy("/v2/team/app/manifests/1")).toBe("500");
    await scene.proxy.cache.stop();
    const reply = await scene.proxy.ask("/v2/team/app/manifests/1");
    expect(reply).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    expect(JSON.parse(reply.body.toString())).toMatchObject({ errors: [{ code: "UNAVAILABLE" }] });
    expect(scene.proxy.upstream.requests).toHaveLength(0);
    await scene.proxy.cache.start();
  });

  it.each([
    ["/v2/docker.io/Nginx/manifests/1", 400],
    ["/v2/docker.io/../nginx/manifests/1", 400],
    ["/v2/docker.io/%2e%2e/nginx/manifests/1", 400],
    ["/v2/docker.io/nginx%00/manifests/1", 400],
    ["/v2/docker.io/nginx%0d%0ax/manifests/1", 400],
    ["/v2/docker.io/nginx/manifests/..", 404],
    ["/v2/docker.io/nginx/manifests/sha256:abc", 404],
    ["/v2/docker.io/nginx/blobs/sha256:abc", 400],
    ["/v2/docker.io/nginx/blobs/uploads/", 404],
    ["/v2/library/nginx/manifests/1?ns=docker.io&ns=quay.io", 400],
    ["/v2/library/nginx/manifests/1?ns=user@docker.io", 400],
    ["/v2/library/nginx/manifests/1?ns=2130706433", 400],
    ["/v2/library/nginx/manifests/%", 400],
    ["/metrics", 404],
  ])("%s is refused with %i, and nobody is asked", async (path, status) => {
    const reply = await scene.proxy.ask(path);
    expect(reply.status).toBe(status);
    expect(JSON.parse(reply.body.toString())).toMatchObject({ errors: [{ code: expect.any(String) }] });
    expect([...scene.proxy.cache.requests, ...scene.proxy.upstream.requests]).toHaveLength(0);
  });
});

describe("everything else", () => {
  it("/v2/ answers by itself", async () => {
    await scene.proxy.cache.stop();
    expect(await scene.proxy.ask("/v2/")).toMatchObject({
      status: 200,
      headers: { "docker-distribution-api-version": "registry/2.0" },
    });
    await scene.proxy.cache.start();
  });

  it.each(["POST", "PUT", "PATCH", "DELETE"])("%s is 405", async (method) => {
    const reply = await scene.proxy.ask("/v2/team/app/blobs/uploads/", { method, headers: { "content-type": "a/b" } });
    expect(reply).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
    expect(JSON.parse(reply.body.toString())).toMatchObject({ errors: [{ code: "UNSUPPORTED" }] });
    expect(scene.proxy.cache.requests).toHaveLength(0);
  });

  it("lists come from the cache", async () => {
    scene.proxy.cache.intercept = (_request, response) => {
      response.writeHead(200, { "content-type": "application/json", link: "<x>; rel=next" }).end('{"tags":[]}');
      return true;
    };
    const reply = await scene.proxy.ask("/v2/team/app/tags/list?n=5&last=a");
    expect(reply).toMatchObject({ status: 200, headers: { link: "<x>; rel=next" } });
    expect(scene.proxy.cache.requests[0]?.url).toBe("/v2/team/app/tags/list?n=5&last=a");
  });
});

describe("a cache that is down", () => {
  it("is not tried for each request, and is asked again soon after it is back", async () => {
    await scene.proxy.cache.stop();
    expect(await Promise.all(Array.from({ length: 10 }, () => scene.answeredBy()))).toEqual(Array(10).fill("upstream"));
    expect(await scene.answeredBy()).toBe("upstream");
    expect(await scene.proxy.metrics()).toMatch(/proxy_failovers_total\{reason="open"\} [1-9]/);
    expect(await scene.proxy.metrics()).toContain("proxy_circuit_open 1");
    await scene.proxy.cache.start();
    await expect.poll(() => scene.answeredBy(), { timeout: 3000, interval: 100 }).toBe("cache");
    expect(await scene.proxy.metrics()).toContain("proxy_circuit_open 0");
  });

  it("is asked all the same when the upstream is down too", async () => {
    await scene.proxy.cache.stop();
    expect(await scene.answeredBy()).toBe("upstream");
    await scene.proxy.upstream.stop();
    await scene.proxy.cache.start();
    expect(await scene.answeredBy()).toBe("cache");
    await scene.proxy.upstream.start();
  });
});
