import { MANIFEST_ACCEPT } from "@cache-registry/core/media-type";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failure, QUICK, useClients } from "./testing/clients.ts";
import {
  answerJson,
  createScriptedRegistry,
  manifestBytes,
  type ScriptedRegistry,
} from "./testing/scripted-registry.ts";
import { UpstreamError } from "./upstream-error.ts";

const REPOSITORY = "library/nginx";
const at = { registry: "docker.io", repository: REPOSITORY };

let registry: ScriptedRegistry;
let second: ScriptedRegistry;
const createClient = useClients(() => ({ registry: "docker.io", endpoints: [registry.url], timeouts: QUICK }));

beforeEach(async () => {
  registry = await createScriptedRegistry();
  second = await createScriptedRegistry();
});

afterEach(async () => {
  await Promise.all([registry.stop(), second.stop()]);
});

describe("manifests", () => {
  it("gets one by tag and by digest, asking for every type we store and no encoding", async () => {
    const bytes = manifestBytes("a");
    const digest = registry.addManifest(REPOSITORY, bytes, "1.27");
    const client = createClient();
    const byTag = await client.getManifest({ ...at, reference: "1.27" });
    expect(byTag.bytes.equals(bytes)).toBe(true);
    expect(byTag).toMatchObject({ digest, mediaType: "application/vnd.oci.image.manifest.v1+json" });
    expect(await client.getManifest({ ...at, reference: digest })).toMatchObject({ digest });
    expect(registry.requests[0]).toMatchObject({
      url: `/v2/${REPOSITORY}/manifests/1.27`,
      headers: { accept: MANIFEST_ACCEPT.join(", "), "accept-encoding": "identity" },
    });
    expect(registry.requests[0]?.headers.authorization).toBeUndefined();
  });

  it("HEAD gives digest, type and size", async () => {
    const bytes = manifestBytes("a");
    const digest = registry.addManifest(REPOSITORY, bytes, "1.27");
    expect(await createClient().headManifest({ ...at, reference: "1.27" })).toMatchObject({
      digest,
      size: bytes.length,
    });
  });

  it.each([405, 501])("HEAD that is not known leaves the digest open (%d)", async (status) => {
    registry.intercept = (_request, response) => answerJson(response, status, {});
    expect(await createClient().headManifest({ ...at, reference: "1.27" })).toMatchObject({ digest: undefined });
  });

  it.each([
    ["a body that is not what the digest says", { "docker-content-digest": `sha256:${"0".repeat(64)}` }],
    ["an encoded body", { "content-encoding": "gzip" }],
    ["a web page", { "content-type": "text/html; charset=utf-8" }],
  ])("refuses %s", async (_name, headers) => {
    registry.intercept = (_request, response) => answerJson(response, 200, { schemaVersion: 2 }, headers);
    await expect(createClient().getManifest({ ...at, reference: "1.27" })).rejects.toEqual(
      failure({ kind: "invalid" }),
    );
  });

  it("refuses another manifest than the digest asked for", async () => {
    const digest = registry.addManifest(REPOSITORY, manifestBytes("a"));
    registry.intercept = (_request, response) => answerJson(response, 200, { schemaVersion: 2 });
    await expect(createClient().getManifest({ ...at, reference: digest })).rejects.toEqual(
      failure({ kind: "invalid" }),
    );
  });

  it("stops reading an endless manifest", async () => {
    let sent = 0;
    registry.intercept = (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(256 * 1024, 32);
      const write = (): void => {
        while (!response.destroyed && sent < 64 * 1024 * 1024) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once("drain", write);
        }
      };
      write();
      return true;
    };
    await expect(createClient().getManifest({ ...at, reference: "1.27" })).rejects.toBeInstanceOf(UpstreamError);
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  it("gives up on a manifest that comes a byte now and then", async () => {
    registry.intercept = (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const timer = setInterval(() => response.write(" "), 50);
      response.once("close", () => clearInterval(timer));
      return true;
    };
    await expect(createClient().getManifest({ ...at, reference: "1.27" })).rejects.toEqual(
      failure({ kind: "timeout", message: "docker.io: the answer took too long" }),
    );
  });

  it.each([
    [404, { kind: "not-found", status: 404 }],
    [401, { kind: "unauthorized", status: 401 }],
    [403, { kind: "unauthorized", status: 403 }],
    [400, { kind: "invalid", status: 400 }],
    [500, { kind: "server", status: 500 }],
    [429, { kind: "rate-limited", status: 429, retryAfter: 7000 }],
  ])("status %i is %o", async (status, fields) => {
    registry.intercept = (_request, response) => answerJson(response, status, {}, { "retry-after": "7" });
    const client = createClient();
    await expect(client.getManifest({ ...at, reference: "1.27" })).rejects.toEqual(failure(fields));
    if (status === 429) return;
    await expect(client.headManifest({ ...at, reference: "1.27" })).rejects.toEqual(failure(fields));
  });
});

describe("failing endpoints", () => {
  const both = () => ({ upstream: { endpoints: [registry.url, second.url] } });

  it("goes on to the next endpoint when one is down, fails or limits us", async () => {
    const digest = second.addManifest(REPOSITORY, manifestBytes("a"), "1.27");
    const client = createClient(both());
    for (const status of [500, 503, 429]) {
      registry.intercept = (_request, response) => answerJson(response, status, {});
      expect(await client.getManifest({ ...at, reference: "1.27" })).toMatchObject({ digest });
    }
    // The first of them limits us for now: it is not even asked.
    const asked = registry.requests.length;
    expect(await client.getManifest({ ...at, reference: "1.27" })).toMatchObject({ digest });
    expect(registry.requests).toHaveLength(asked);
    await registry.stop();
    expect(await createClient(both()).getManifest({ ...at, reference: "1.27" })).toMatchObject({ digest });
    await registry.start();
  });

  it.each([404, 401])("a limit is not made an absence by another endpoint that says %i", async (status) => {
    registry.intercept = (_request, response) => answerJson(response, 429, {}, { "retry-after": "7" });
    second.intercept = (_request, response) => answerJson(response, status, {});
    const client = createClient(both());
    for (let times = 0; times < 2; times += 1) {
      await expect(client.getManifest({ ...at, reference: "1.27" })).rejects.toEqual(failure({ kind: "rate-limited" }));
    }
    expect([registry.requests.length, second.requests.length]).toEqual([1, 2]);
  });

  it("an endpoint that knows better ends the search", async () => {
    second.addManifest(REPOSITORY, manifestBytes("a"), "1.27");
    const client = createClient(both());
    await expect(client.getManifest({ ...at, reference: "1.27" })).rejects.toEqual(failure({ kind: "not-found" }));
    expect(second.requests).toHaveLength(0);
  });

  it("a hiccup of a single endpoint goes unnoticed", async () => {
    const digest = registry.addManifest(REPOSITORY, manifestBytes("a"), "1.27");
    let failures = 0;
    registry.intercept = (request, response) => {
      failures += 1;
      if (failures === 1) return answerJson(response, 503, {});
      if (failures === 3) request.socket.destroy();
      return failures === 3;
    };
    const client = createClient();
    expect(await client.getManifest({ ...at, reference: "1.27" })).toMatchObject({ digest });
    expect(await client.getManifest({ ...at, reference: "1.27" })).toMatchObject({ digest });
    expect(failures).toBe(4);
  });

  it("no answer is a time-out, no server is unreachable", async () => {
    registry.intercept = () => true;
    const client = createClient();
    await expect(client.getManifest({ ...at, reference: "1.27" })).rejects.toEqual(failure({ kind: "timeout" }));
    await registry.stop();
    await expect(client.getManifest({ ...at, reference: "1.27" })).rejects.toEqual(failure({ kind: "unreachable" }));
    await registry.start();
  });

  it("a caller that gives up gets its own reason", async () => {
    registry.intercept = () => true;
    const reason = new Error("enough");
    const controller = new AbortController();
    const asked = createClient().getManifest({ ...at, reference: "1.27", signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await expect(asked).rejects.toBe(reason);
  });
});
