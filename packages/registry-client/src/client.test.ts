import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { MANIFEST_ACCEPT } from "@cache-registry/core/media-type";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createUpstreamClient, type UpstreamClient, type UpstreamClientOptions } from "./client.ts";
import {
  answerJson,
  createScriptedRegistry,
  manifestBytes,
  type ScriptedRegistry,
} from "./testing/scripted-registry.ts";
import { upstreamListSchema } from "./upstream.ts";
import { UpstreamError } from "./upstream-error.ts";

const REPOSITORY = "library/nginx";
const at = { registry: "docker.io", repository: REPOSITORY };

let registry: ScriptedRegistry;
let second: ScriptedRegistry;
const clients: UpstreamClient[] = [];

type Shape = { upstream?: object; policy?: "listed" | "public" | "any" } & Partial<UpstreamClientOptions>;

function createClient({ upstream = {}, policy = "public", ...rest }: Shape = {}): UpstreamClient {
  const upstreams = upstreamListSchema.parse([
    {
      registry: "docker.io",
      endpoints: [registry.url],
      timeouts: { connect: "1s", headers: "500ms", idle: "500ms" },
      ...upstream,
    },
  ]);
  const client = createUpstreamClient({ upstreams, policy, logger: silentLogger(), ...rest });
  clients.push(client);
  return client;
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function failure(fields: object) {
  return expect.objectContaining({ name: "UpstreamError", ...fields });
}

beforeEach(async () => {
  registry = await createScriptedRegistry();
  second = await createScriptedRegistry();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
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

  it("HEAD that is not allowed leaves the digest open", async () => {
    registry.intercept = (_request, response) => answerJson(response, 405, {});
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
    await registry.stop();
    expect(await client.getManifest({ ...at, reference: "1.27" })).toMatchObject({ digest });
    await registry.start();
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

describe("blobs", () => {
  it("streams one, whole and from an offset", async () => {
    const bytes = randomBytes(3_000_000);
    const digest = registry.addBlob(bytes);
    const client = createClient();
    expect(await client.headBlob({ ...at, digest })).toEqual({ size: bytes.length });
    const whole = await client.getBlob({ ...at, digest });
    expect(whole).toMatchObject({ offset: 0, size: bytes.length });
    expect((await bytesOf(whole.stream)).equals(bytes)).toBe(true);
    const rest = await client.getBlob({ ...at, digest, offset: 1_000_001 });
    expect(rest).toMatchObject({ offset: 1_000_001, size: bytes.length });
    expect((await bytesOf(rest.stream)).equals(bytes.subarray(1_000_001))).toBe(true);
  });

  it("reports where the stream starts when the range is ignored", async () => {
    const digest = registry.addBlob(Buffer.from("0123456789"));
    registry.intercept = (request) => {
      delete request.headers.range;
      return false;
    };
    const { offset, size, stream } = await createClient().getBlob({ ...at, digest, offset: 4 });
    expect({ offset, size, body: await text(stream) }).toEqual({ offset: 0, size: 10, body: "0123456789" });
  });

  it("an offset past the end is invalid", async () => {
    const digest = registry.addBlob(Buffer.from("0123456789"));
    const asked = createClient().getBlob({ ...at, digest, offset: 10 });
    await expect(asked).rejects.toEqual(failure({ kind: "invalid", status: 416 }));
  });

  it("a cut, a stall and a lie about the length end the stream with an UpstreamError", async () => {
    const digest = registry.addBlob(randomBytes(500_000));
    const client = createClient();
    const misbehave = async (how: "cut" | "stall" | "short"): Promise<unknown> => {
      registry.intercept = (_request, response) => {
        const headers = how === "short" ? { "content-range": "bytes 0-99/500000" } : { "content-length": 500_000 };
        response.writeHead(how === "short" ? 206 : 200, headers);
        response.write(Buffer.alloc(100));
        if (how === "cut") setTimeout(() => response.destroy(), 20);
        if (how === "short") response.end();
        return true;
      };
      const { stream } = await client.getBlob({ ...at, digest });
      return bytesOf(stream).then(
        () => "no error",
        (error: unknown) => (error instanceof UpstreamError ? error.kind : error),
      );
    };
    expect(await misbehave("cut")).toBe("unreachable");
    expect(await misbehave("stall")).toBe("timeout");
    expect(await misbehave("short")).toBe("unreachable");
  });

  it("reads no more blobs at once than allowed, and manifests do not wait for them", async () => {
    const digest = registry.addBlob(randomBytes(4_000_000));
    const manifest = registry.addManifest(REPOSITORY, manifestBytes("a"));
    const client = createClient({ upstream: { concurrency: 2 } });
    const open = [await client.getBlob({ ...at, digest }), await client.getBlob({ ...at, digest })];
    const third = client.getBlob({ ...at, digest });
    expect(await client.getManifest({ ...at, reference: manifest })).toMatchObject({ digest: manifest });
    expect(registry.requests.filter(({ url }) => url.includes("/blobs/"))).toHaveLength(2);
    open[0]?.stream.destroy();
    (await third).stream.destroy();
    open[1]?.stream.destroy();
    expect(registry.requests.filter(({ url }) => url.includes("/blobs/"))).toHaveLength(3);
  });

  it("an abort ends a running stream with its reason and frees the slot", async () => {
    const digest = registry.addBlob(randomBytes(4_000_000));
    const client = createClient({ upstream: { concurrency: 1 } });
    const controller = new AbortController();
    const { stream } = await client.getBlob({ ...at, digest, signal: controller.signal });
    const reason = new Error("enough");
    const read = bytesOf(stream);
    controller.abort(reason);
    await expect(read).rejects.toBe(reason);
    expect((await bytesOf((await client.getBlob({ ...at, digest })).stream)).length).toBe(4_000_000);
  });
});

describe("policy", () => {
  const elsewhere = (name: string) => ({ registry: name, repository: "a", reference: "b" });

  it.each(["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "localhost"])("public refuses %s", async (name) => {
    const { port } = new URL(registry.url);
    const asked = createClient().getManifest(elsewhere(`${name}:${port}`));
    await expect(asked).rejects.toEqual(failure({ kind: "denied-by-policy" }));
    expect(registry.requests).toHaveLength(0);
  });

  it("public refuses a public name that leads to a private address, at connect time", async () => {
    const asked: string[] = [];
    const client = createClient({
      resolve: (hostname, _options, answer) => {
        asked.push(hostname);
        answer(null, [{ address: "127.0.0.1", family: 4 }]);
      },
    });
    await expect(client.getManifest(elsewhere("rebind.example.com"))).rejects.toEqual(
      failure({ kind: "denied-by-policy" }),
    );
    expect(asked).toEqual(["rebind.example.com"]);
  });

  it("listed refuses every other registry, air-gapped refuses all", async () => {
    const listed = createClient({ policy: "listed" });
    await expect(listed.getManifest(elsewhere("quay.io"))).rejects.toEqual(failure({ kind: "denied-by-policy" }));
    const airGapped = createClient({ airGapped: true });
    await expect(airGapped.getManifest({ ...at, reference: "1" })).rejects.toEqual(
      failure({ kind: "denied-by-policy" }),
    );
    expect(registry.requests).toHaveLength(0);
  });
});

describe("metrics", () => {
  it("counts answers and bytes, without the names that requests make up", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const digest = registry.addBlob(randomBytes(1000));
    const client = createClient({ metrics });
    await bytesOf((await client.getBlob({ ...at, digest })).stream);
    await client.getManifest({ ...at, reference: "missing" }).catch(() => undefined);
    await client.getManifest({ registry: "127.0.0.1", repository: "a", reference: "b" }).catch(() => undefined);
    const lines = await metrics.text();
    expect(lines).toContain('upstream_received_bytes_total{upstream="docker.io"} 1000');
    expect(lines).toContain('upstream_requests_total{upstream="docker.io",resource="manifest",result="not-found"} 1');
    expect(lines).toContain(
      'upstream_requests_total{upstream="unlisted",resource="manifest",result="denied-by-policy"} 1',
    );
    expect(lines).not.toContain("127.0.0.1");
  });
});
