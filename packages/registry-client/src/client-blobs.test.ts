import { randomBytes } from "node:crypto";
import { buffer, text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failure, QUICK, useClients } from "./testing/clients.ts";
import { createScriptedRegistry, manifestBytes, type ScriptedRegistry } from "./testing/scripted-registry.ts";
import { UpstreamError } from "./upstream-error.ts";

const REPOSITORY = "library/nginx";
const at = { registry: "docker.io", repository: REPOSITORY };

let registry: ScriptedRegistry;
const createClient = useClients(() => ({ registry: "docker.io", endpoints: [registry.url], timeouts: QUICK }));

beforeEach(async () => {
  registry = await createScriptedRegistry();
});

afterEach(async () => {
  await registry.stop();
});

describe("blobs", () => {
  it("streams one, whole and from an offset", async () => {
    const bytes = randomBytes(3_000_000);
    const digest = registry.addBlob(bytes);
    const client = createClient();
    expect(await client.headBlob({ ...at, digest })).toEqual({ size: bytes.length });
    const whole = await client.getBlob({ ...at, digest });
    expect(whole).toMatchObject({ offset: 0, size: bytes.length });
    expect((await buffer(whole.stream)).equals(bytes)).toBe(true);
    const rest = await client.getBlob({ ...at, digest, offset: 1_000_001 });
    expect(rest).toMatchObject({ offset: 1_000_001, size: bytes.length });
    expect((await buffer(rest.stream)).equals(bytes.subarray(1_000_001))).toBe(true);
  });

  it.each([405, 501])("asks for the first byte of an upstream that knows no HEAD (%d)", async (status) => {
    const bytes = randomBytes(200_000);
    const digest = registry.addBlob(bytes);
    registry.intercept = ({ method }, response) => {
      if (method !== "HEAD") return false;
      response.writeHead(status).end();
      return true;
    };
    const client = createClient();
    expect(await client.headBlob({ ...at, digest })).toEqual({ size: bytes.length });
    const last = registry.requests.at(-1);
    expect([last?.method, last?.headers.range]).toEqual(["GET", "bytes=0-0"]);
    const absent = `sha256:${"0".repeat(64)}`;
    await expect(client.headBlob({ ...at, digest: absent })).rejects.toThrow(failure({ kind: "not-found" }));
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
      return buffer(stream).then(
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
    const read = buffer(stream);
    controller.abort(reason);
    await expect(read).rejects.toBe(reason);
    expect((await buffer((await client.getBlob({ ...at, digest })).stream)).length).toBe(4_000_000);
  });

  it("goes on at another endpoint when one breaks off or stands still, and back when that has it not", async () => {
    const second = await createScriptedRegistry();
    try {
      const bytes = randomBytes(1_000_000);
      const digest = second.addBlob(bytes);
      registry.addBlob(bytes);
      registry.intercept = (request, response) => {
        if (request.headers.range !== undefined) return false;
        response.writeHead(200, { "content-length": bytes.length });
        return response.write(bytes.subarray(0, 100_000)) || true;
      };
      const client = createClient({ upstream: { endpoints: [registry.url, second.url] } });
      const first = await client.getBlob({ ...at, digest });
      await expect(buffer(first.stream)).rejects.toEqual(failure({ kind: "timeout" }));
      const rest = await client.getBlob({ ...at, digest, offset: 100_000 });
      expect((await buffer(rest.stream)).equals(bytes.subarray(100_000))).toBe(true);
      expect([registry.requests.length, second.requests.length]).toEqual([1, 1]);
      second.intercept = (_request, response) => response.writeHead(404).end() && true;
      const again = await client.getBlob({ ...at, digest, offset: 100_000 });
      expect((await buffer(again.stream)).equals(bytes.subarray(100_000))).toBe(true);
      expect([registry.requests.length, second.requests.length]).toEqual([2, 2]);
    } finally {
      await second.stop();
    }
  });
});
