import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RawAnswer, rawGet, rawRequest } from "../support/raw-http.ts";
import { createRegistryApi, errorOf, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { blobOf, digestOf, type Image, makeImage } from "../support/test-content.ts";

const UUID = "123e4567-e89b-42d3-a456-426614174000";
let registry: RegistryProcess;
let api: RegistryApi;
let image: Image;
let endless: Promise<number>;

/** A client whose headers never end: milliseconds until it was cut off. */
function dripHeaders(): Promise<number> {
  const { hostname, port } = new URL(registry.url);
  const socket = connect(Number(port), hostname);
  const started = performance.now();
  socket.on("error", () => undefined);
  socket.write("GET /v2/ HTTP/1.1\r\nHost: x\r\n");
  socket.resume();
  const drip = setInterval(() => socket.write("X-Slow: 1\r\n"), 1_000);
  return new Promise((resolve) => {
    socket.once("close", () => {
      clearInterval(drip);
      resolve(performance.now() - started);
    });
  });
}

beforeAll(async () => {
  registry = await startRegistryProcess({ upstreamPolicy: "listed" });
  // It takes 20 s, in which the other tests run.
  endless = dripHeaders();
  api = createRegistryApi(registry.url);
  image = makeImage();
  await api.pushImage("team/app", "v1", image);
});
afterAll(() => registry?.dispose());

function codeOf({ body }: RawAnswer): string {
  return (JSON.parse(body) as { errors: { code: string }[] }).errors[0]?.code ?? "";
}

describe("paths that lead elsewhere", () => {
  const digest = "a".repeat(64);
  it.each([
    ["../ in the name", `/v2/../../etc/manifests/passwd`],
    ["encoded ../ in the name", `/v2/%2e%2e/%2e%2e/etc/manifests/passwd`],
    ["encoded slashes", `/v2/team%2f..%2f..%2fetc/manifests/passwd`],
    ["a backslash", `/v2/team\\..\\app/manifests/v1`],
    ["an encoded backslash", `/v2/team%5c..%5capp/manifests/v1`],
    ["NUL in the name", `/v2/team/app%00/manifests/v1`],
    ["NUL in the tag", `/v2/team/app/manifests/v1%00`],
    ["CR LF in the tag", `/v2/team/app/manifests/v1%0d%0aX-Injected:%201`],
    ["a tag that is a path", `/v2/team/app/manifests/..%2f..%2fv1`],
    ["a digest that is a path", `/v2/team/app/blobs/sha256:..%2f..%2fmetadata.db`],
    ["an unknown algorithm", `/v2/team/app/blobs/md5:${"a".repeat(32)}`],
    ["a digest in capitals", `/v2/team/app/blobs/sha256:${"A".repeat(64)}`],
    ["a digest that is too long", `/v2/team/app/blobs/sha256:${digest}a`],
    ["a name of 300 characters", `/v2/${"a".repeat(300)}/manifests/v1`],
    ["a name in capitals", `/v2/Team/app/manifests/v1`],
    ["a name of dots", `/v2/./manifests/v1`],
    ["an empty component", `/v2/team//app/manifests/v1`],
    ["a tag of 129 characters", `/v2/team/app/manifests/${"a".repeat(129)}`],
    ["broken percent-encoding", `/v2/team/app/manifests/%zz`],
    ["overlong UTF-8", `/v2/team/%c0%ae%c0%ae/manifests/v1`],
    ["an upload id that is a path", `/v2/team/app/blobs/uploads/..%2f..%2fmetadata.db`],
    ["an upload id of nobody", `/v2/team/app/blobs/uploads/${UUID}`],
  ])("%s: a client's error in the spec's form, and no file name in it", async (_what, target) => {
    const answer = await rawGet(registry.url, target);
    expect([400, 404]).toContain(answer.status);
    expect(codeOf(answer)).toMatch(/^[A-Z_]+$/);
    expect(answer.headers["content-type"]).toMatch(/^application\/json/);
    expect(answer.body).not.toContain(registry.directory);
    expect(answer.headers).not.toHaveProperty("x-injected");
  });

  it("does not follow links that somebody put into its folders", async () => {
    const link = digestOf(Buffer.from("not this content"));
    const outside = join(registry.directory, "outside");
    await writeFile(outside, "a secret of the machine");
    await symlink(outside, join(registry.data, "blobs", ...link.split(":")));
    expect((await api.request("GET", `team/app/blobs/${link}`)).status).toBe(404);
    expect((await api.request("HEAD", `team/app/blobs/${link}`)).status).toBe(404);
    // Pushing the content of that name replaces the link and leaves alone what it pointed to.
    await api.pushBlob("team/app", blobOf(Buffer.from("not this content")));
    expect((await api.get(`team/app/blobs/${link}`)).toString()).toBe("not this content");
    expect(await readFile(outside, "utf8")).toBe("a secret of the machine");
  });
});

describe("floods", () => {
  it("of headers, of one long header, and of a long path are refused by the server itself", async () => {
    const many = Array.from({ length: 3_000 }, (_, header) => `X-${header}: 1\r\n`).join("");
    for (const request of [
      `GET /v2/ HTTP/1.1\r\nHost: x\r\n${many}\r\n`,
      `GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: ${"a".repeat(100_000)}\r\n\r\n`,
      `GET /v2/${"a/".repeat(50_000)}manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n`,
    ]) {
      const answer = await rawRequest(registry.url, request);
      expect(answer.cut || [400, 414, 431].includes(answer.status), `${answer.status}`).toBe(true);
    }
  });

  it("of tags, scopes and unknown parameters are refused or ignored", async () => {
    const { manifest } = image;
    const tags = Array.from({ length: 1_000 }, (_, tag) => `tag=t${tag}`).join("&");
    const flooded = await api.putManifest("team/app", `${manifest.digest}?${tags}`, manifest);
    expect(flooded.status).toBe(414);
    const ignored = await api.request("GET", `team/app/manifests/v1?${"scope=a&".repeat(500)}`);
    expect(ignored.status).toBe(200);
    const list = (await (await api.request("GET", "team/app/tags/list")).json()) as { tags: string[] };
    expect(list.tags).toEqual(["v1"]);
  });

  it.each([
    ["two Content-Lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
    [
      "a length beside chunks (request smuggling)",
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/smuggled HTTP/1.1\r\n\r\n",
    ],
    ["a length that is no number", "Content-Length: -5\r\n\r\nhello"],
    ["chunks that are none", "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"],
  ])("%s: 400, and the connection is closed", async (_what, rest) => {
    const request = `POST /v2/team/app/blobs/uploads/?digest=${digestOf(Buffer.from("hello"))} HTTP/1.1\r\nHost: x\r\n${rest}`;
    const answer = await rawRequest(registry.url, request);
    expect(answer.cut || answer.status === 400, `${answer.status} ${answer.body}`).toBe(true);
    expect(answer.body).not.toContain("smuggled");
  });

  it("of request headers that never end are cut off", async () => {
    expect(await endless).toBeLessThan(40_000);
  });
});

describe("upload sessions", () => {
  it("refuse ranges that overlap, leave gaps, overflow or run backwards, and go on", async () => {
    const begun = await api.request("POST", "team/app/blobs/uploads/");
    const location = begun.headers.get("location") ?? "";
    const patch = (range: string, body: string) =>
      api.request("PATCH", location, { body, headers: { "content-range": range } });
    expect((await patch("0-4", "hello")).status).toBe(202);
    for (const range of [
      "0-4",
      "3-7",
      "6-10",
      "99999999999999999999-99999999999999999999",
      "7-5",
      "-1-4",
      "5-9223372036854775807",
    ]) {
      const refused = await patch(range, "world");
      expect([400, 416], `${range}: ${refused.status}`).toContain(refused.status);
    }
    expect((await patch("5-9", "world")).status).toBe(202);
    const digest = digestOf(Buffer.from("helloworld"));
    expect((await api.request("PUT", `${location}?digest=${digest}`)).status).toBe(201);
    // It is over: nothing can be added, asked, cancelled or completed again.
    for (const method of ["PATCH", "GET", "DELETE"]) expect((await api.request(method, location)).status).toBe(404);
    expect((await api.request("PUT", `${location}?digest=${digest}`)).status).toBe(404);
    expect((await api.get(`team/app/blobs/${digest}`)).toString()).toBe("helloworld");
  });

  it("leave nothing behind when they fail", async () => {
    const before = await readdir(join(registry.data, "uploads"));
    const wrong = digestOf(Buffer.from("something else"));
    for (let tries = 0; tries < 20; tries += 1) {
      const failed = await api.request("POST", `team/app/blobs/uploads/?digest=${wrong}`, { body: "hello" });
      expect([failed.status, (await errorOf(failed)).code]).toEqual([400, "DIGEST_INVALID"]);
    }
    expect(await readdir(join(registry.data, "uploads"))).toEqual(before);
    await mkdir(join(registry.data, "ingest"), { recursive: true });
    expect(await readdir(join(registry.data, "ingest"))).toEqual([]);
  });
});

describe("answers", () => {
  it("cannot be taken for a web page, nor used from one", async () => {
    for (const target of [
      "/v2/%3Cscript%3Ealert(1)%3C%2Fscript%3E/manifests/v1",
      "/%3Cscript%3E",
      "/v2/team/app/tags/list",
    ]) {
      const { headers } = await rawGet(registry.url, target, "Origin: https://evil.example\r\n");
      expect(headers["content-type"]).toMatch(/^application\/json/);
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(headers).not.toHaveProperty("access-control-allow-origin");
    }
  });

  it.each(["TRACE", "CONNECT", "PATCH", "OPTIONS", "PROPFIND"])("to %s are no content", async (method) => {
    const answer = await rawRequest(
      registry.url,
      `${method} /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(answer.cut || [400, 404, 405].includes(answer.status), `${answer.status}`).toBe(true);
  });

  it("to HTTP/1.0 and to no Accept at all are the content", async () => {
    for (const request of [
      "GET /v2/team/app/manifests/v1 HTTP/1.0\r\n\r\n",
      "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nAccept:\r\nConnection: close\r\n\r\n",
      "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: zstd, gzip\r\nConnection: close\r\n\r\n",
    ]) {
      const answer = await rawRequest(registry.url, request);
      expect([answer.status, answer.body]).toEqual([200, image.manifest.bytes.toString()]);
      expect(answer.headers).not.toHaveProperty("content-encoding");
    }
  });
});

it("leave what was there before", async () => {
  expect(await api.get("team/app/manifests/v1")).toEqual(image.manifest.bytes);
  expect((await fetch(`${registry.management}/readyz`)).status).toBe(200);
});
