import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { blobOf, digestOf, makeImage, randomBlob } from "../support/test-content.ts";

let registry: RegistryProcess;
let api: RegistryApi;
beforeAll(async () => {
  registry = await startRegistryProcess();
  api = createRegistryApi(registry.url);
});
afterAll(() => registry.dispose());

async function begin(repository: string): Promise<string> {
  const response = await api.request("POST", `${repository}/blobs/uploads/`);
  expect(response.status).toBe(202);
  expect(response.headers.get("range")).toBe("0-0");
  return response.headers.get("location") ?? "";
}

const chunk = (location: string, bytes: Buffer, start?: number) =>
  api.request("PATCH", location, {
    body: bytes,
    headers: start === undefined ? {} : { "content-range": `${start}-${start + bytes.length - 1}` },
  });
const finish = (location: string, digest: string, body?: Buffer) =>
  api.request("PUT", `${location}?digest=${digest}`, body ? { body } : {});

describe("uploads", () => {
  it("takes a blob in one POST", async () => {
    const blob = randomBlob(300_000);
    const pushed = await api.request("POST", `push/single/blobs/uploads/?digest=${blob.digest}`, { body: blob.bytes });
    expect(pushed.status).toBe(201);
    expect(pushed.headers.get("docker-content-digest")).toBe(blob.digest);
    expect(pushed.headers.get("location")).toBe(`/v2/push/single/blobs/${blob.digest}`);
    expect(await api.get(`push/single/blobs/${blob.digest}`)).toEqual(blob.bytes);
  });

  it("takes a blob in POST and PUT", async () => {
    const blob = randomBlob(200_000);
    const done = await finish(await begin("push/two"), blob.digest, blob.bytes);
    expect(done.status).toBe(201);
    expect(await api.get(`push/two/blobs/${blob.digest}`)).toEqual(blob.bytes);
  });

  it("takes the empty blob", async () => {
    const empty = blobOf(Buffer.alloc(0));
    expect((await finish(await begin("push/empty"), empty.digest)).status).toBe(201);
    expect(await api.get(`push/empty/blobs/${empty.digest}`, { headers: { range: "bytes=0-" } })).toHaveLength(0);
  });

  it("takes chunks in order and says where it is", async () => {
    const blob = randomBlob(250_000);
    const location = await begin("push/chunks");
    const first = await chunk(location, blob.bytes.subarray(0, 100_000), 0);
    expect([first.status, first.headers.get("range")]).toEqual([202, "0-99999"]);
    const status = await api.request("GET", location);
    expect([status.status, status.headers.get("range")]).toEqual([204, "0-99999"]);
    const second = await chunk(location, blob.bytes.subarray(100_000, 200_000), 100_000);
    expect([second.status, second.headers.get("range")]).toEqual([202, "0-199999"]);
    expect((await finish(location, blob.digest, blob.bytes.subarray(200_000))).status).toBe(201);
    expect(await api.get(`push/chunks/blobs/${blob.digest}`)).toEqual(blob.bytes);
  });

  it("refuses a chunk out of order with 416 and keeps the session", async () => {
    const blob = randomBlob(2_000);
    const location = await begin("push/order");
    await chunk(location, blob.bytes.subarray(0, 1_000), 0);
    for (const start of [0, 999, 1_001]) {
      const refused = await chunk(location, blob.bytes.subarray(1_000), start);
      expect([refused.status, refused.headers.get("range")]).toEqual([416, "0-999"]);
      expect((await errorOf(refused)).code).toBe("RANGE_INVALID");
    }
    const late = await api.request("PUT", `${location}?digest=${blob.digest}`, {
      body: blob.bytes.subarray(1_000),
      headers: { "content-range": "1500-2499" },
    });
    expect(late.status).toBe(416);
    expect((await finish(location, blob.digest, blob.bytes.subarray(1_000))).status).toBe(201);
  });

  it("refuses a malformed Content-Range", async () => {
    const location = await begin("push/malformed");
    for (const range of ["9-1", "a-b", "-5", "bytes=0-1", "0-99999999999999999999"]) {
      const refused = await api.request("PATCH", location, { body: "xx", headers: { "content-range": range } });
      expect([range, refused.status]).toEqual([range, 416]);
    }
    const wrongLength = await api.request("PATCH", location, { body: "xx", headers: { "content-range": "0-9" } });
    expect((await errorOf(wrongLength)).code).toBe("SIZE_INVALID");
  });

  it("takes a stream of unknown length", async () => {
    const blob = randomBlob(3_000_000);
    const location = await begin("push/stream");
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < blob.bytes.length; at += 70_000) controller.enqueue(blob.bytes.subarray(at, at + 70_000));
        controller.close();
      },
    });
    const streamed = await api.request("PATCH", location, { body });
    expect([streamed.status, streamed.headers.get("range")]).toEqual([202, "0-2999999"]);
    expect((await finish(location, blob.digest)).status).toBe(201);
    expect(await api.get(`push/stream/blobs/${blob.digest}`)).toEqual(blob.bytes);
  });

  it("verifies sha512 digests", async () => {
    const bytes = randomBytes(100_000);
    const digest = digestOf(bytes, "sha512");
    const location = await begin("push/sha512");
    await chunk(location, bytes.subarray(0, 50_000));
    expect((await finish(location, digest, bytes.subarray(50_000))).status).toBe(201);
    const head = await api.request("HEAD", `push/sha512/blobs/${digest}`);
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "100000"]);
  });

  it("refuses a wrong digest, and the session is gone", async () => {
    const { digest } = randomBlob(10);
    const location = await begin("push/wrong");
    const refused = await finish(location, digest, Buffer.from("other bytes"));
    expect([refused.status, (await errorOf(refused)).code]).toEqual([400, "DIGEST_INVALID"]);
    expect((await api.request("GET", location)).status).toBe(404);
    expect((await api.request("HEAD", `push/wrong/blobs/${digest}`)).status).toBe(404);
    const single = await api.request("POST", `push/wrong/blobs/uploads/?digest=${digest}`, { body: "x" });
    expect(single.status).toBe(400);
    for (const bad of ["sha256:zz", "md5:d41d8cd98f00b204e9800998ecf8427e", "..%2f..%2fetc"]) {
      expect((await finish(await begin("push/wrong"), bad, Buffer.from("x"))).status).toBe(400);
    }
  });

  it("cancels a session", async () => {
    const location = await begin("push/cancel");
    await chunk(location, Buffer.from("some bytes"));
    expect((await api.request("DELETE", location)).status).toBe(204);
    expect((await api.request("GET", location)).status).toBe(404);
    expect((await chunk(location, Buffer.from("more"))).status).toBe(404);
    expect((await api.request("DELETE", location)).status).toBe(404);
  });

  it("knows a session in its own repository only", async () => {
    const elsewhere = (await begin("push/mine")).replace("push/mine", "push/yours");
    expect((await api.request("GET", elsewhere)).status).toBe(404);
    expect((await chunk(elsewhere, Buffer.from("x"))).status).toBe(404);
    expect((await api.request("DELETE", elsewhere)).status).toBe(404);
  });

  it("lets one request at a time write to a session", async () => {
    const location = await begin("push/twice");
    let go = (): void => {};
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Buffer.from("first "));
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        controller.enqueue(Buffer.from("second"));
        controller.close();
      },
    });
    const slow = api.request("PATCH", location, { body });
    await expect.poll(async () => (await api.request("GET", location)).headers.get("range")).toBe("0-5");
    expect((await chunk(location, Buffer.from("intruder"))).status).toBe(409);
    expect((await api.request("DELETE", location)).status).toBe(409);
    go();
    expect((await slow).headers.get("range")).toBe("0-11");
    expect((await finish(location, digestOf(Buffer.from("first second")))).status).toBe(201);
  });

  it("keeps what arrived of a cut chunk, so that the client resumes", async () => {
    const blob = randomBlob(1_000_000);
    const location = await begin("push/cut");
    await new Promise<void>((resolve) => {
      const cut = request(new URL(location, registry.url), {
        method: "PATCH",
        headers: { "content-length": 1_000_000 },
      });
      cut.on("error", () => resolve());
      cut.write(blob.bytes.subarray(0, 400_000), () => setTimeout(() => cut.destroy(new Error("cut")), 100));
    });
    await expect.poll(async () => (await api.request("GET", location)).headers.get("range")).toMatch(/^0-\d{4,}$/);
    // 409 while the cut request still holds the session.
    const resume = async () => {
      const have = Number((await api.request("GET", location)).headers.get("range")?.slice(2)) + 1;
      return (await chunk(location, blob.bytes.subarray(have), have)).status;
    };
    await expect.poll(resume).toBe(202);
    expect((await finish(location, blob.digest)).status).toBe(201);
  });

  it("resumes a session after a restart of the process", async () => {
    const blob = randomBlob(500_000);
    const location = await begin("push/restart");
    await chunk(location, blob.bytes.subarray(0, 300_000), 0);
    expect(await registry.stop()).toBe(0);
    await registry.start();
    const status = await api.request("GET", location);
    expect(status.headers.get("range")).toBe("0-299999");
    expect((await chunk(location, blob.bytes.subarray(300_000), 300_000)).status).toBe(202);
    expect((await finish(location, blob.digest)).status).toBe(201);
    expect(await api.get(`push/restart/blobs/${blob.digest}`)).toEqual(blob.bytes);
  });
});

describe("mount", () => {
  it("links a blob of another repository without its bytes", async () => {
    const blob = randomBlob(1_000);
    await api.pushBlob("mount/from", blob);
    const mounted = await api.request("POST", `mount/to/blobs/uploads/?mount=${blob.digest}&from=mount/from`);
    expect([mounted.status, mounted.headers.get("location")]).toEqual([201, `/v2/mount/to/blobs/${blob.digest}`]);
    expect(await api.get(`mount/to/blobs/${blob.digest}`)).toEqual(blob.bytes);
    const anonymous = await api.request("POST", `mount/third/blobs/uploads/?mount=${blob.digest}`);
    expect(anonymous.status).toBe(201);
  });

  it("falls back to a session when the source does not have it", async () => {
    const blob = randomBlob(1_000);
    await api.pushBlob("mount/has", blob);
    const { digest } = randomBlob(10);
    for (const query of [
      `mount=${blob.digest}&from=mount/other`,
      `mount=${digest}&from=mount/has`,
      `mount=${digest}`,
    ]) {
      const response = await api.request("POST", `mount/fallback/blobs/uploads/?${query}`);
      expect(response.status).toBe(202);
      const location = response.headers.get("location") ?? "";
      expect((await finish(location, blob.digest, blob.bytes)).status).toBe(201);
    }
  });
});

it("streams a large push at a steady memory", async () => {
  const hash = createHash("sha256");
  const block = randomBytes(1 << 20);
  let left = 200;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left-- === 0) return controller.close();
      hash.update(block);
      controller.enqueue(new Uint8Array(block));
    },
  });
  const location = await begin("push/large");
  expect((await api.request("PATCH", location, { body })).status).toBe(202);
  expect((await finish(location, `sha256:${hash.digest("hex")}`)).status).toBe(201);
  expect(registry.residentBytes()).toBeLessThan(256 * 2 ** 20);
  const image = makeImage([10]);
  await api.pushImage("push/after", "latest", image);
});
