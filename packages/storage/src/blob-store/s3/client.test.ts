import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeError } from "../object-store/errors.ts";
import { answer, cut, refusal, TEST_SECRET } from "../object-store/test-server.ts";
import { createS3Client } from "./client.ts";
import { type ScriptedS3, startScriptedS3 } from "./test-server.ts";

let server: ScriptedS3;
beforeAll(async () => {
  server = await startScriptedS3();
});
afterAll(() => server.close());

const get = () => server.client.text({ method: "GET", key: "a/b c" });
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as Error,
  );

describe("S3 client", () => {
  it.each([
    ["SlowDown", refusal(503, "SlowDown")],
    ["an internal error", refusal(500, "InternalError")],
    ["RequestTimeout", refusal(400, "RequestTimeout")],
    ["too many requests", answer(429)],
    ["a broken connection", cut],
    ["an error in an answer of 200", refusal(200, "InternalError")],
  ])("tries again after %s", async (_what, failure) => {
    server.script(failure, failure, answer(200, "whole"));
    expect(await get()).toBe("whole");
    expect(server.seen.map(({ method, path }) => `${method} ${path}`)).toEqual(Array(3).fill("GET /images/a/b%20c"));
  });

  it("sends the body anew with each attempt", async () => {
    server.script(cut, answer(200));
    const body = { sha256: "0".repeat(64), length: 4, chunks: () => chunks("ab", "cd") };
    await server.client.text({ method: "PUT", key: "k", body });
    expect(server.seen.map(({ body: received }) => received.toString())).toEqual(["abcd", "abcd"]);
    expect(server.seen[1]?.headers).toMatchObject({ "content-length": "4", "x-amz-content-sha256": "0".repeat(64) });
  });

  it("tells what cannot succeed at once, and shows no secret", async () => {
    server.script(refusal(403, "AccessDenied"));
    const failure = await failureOf(get());
    expect(failure).toMatchObject({ name: "StoreResponseError", status: 403, code: "AccessDenied" });
    expect(server.seen).toHaveLength(1);
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(TEST_SECRET);
    expect(storeError(failure)).toBe(failure);
  });

  it.each([
    ["507", answer(507)],
    ["a quota", refusal(403, "QuotaExceeded")],
    ["MinIO's full disk", refusal(507, "XMinioStorageFull")],
  ])("calls %s insufficient storage", async (_what, failure) => {
    server.script(failure);
    expect(storeError(await failureOf(get()))).toMatchObject({ code: "INSUFFICIENT_STORAGE", status: 507 });
    expect(server.seen).toHaveLength(1);
  });

  it("gives a read up soon", async () => {
    server.script(refusal(503, "SlowDown"));
    const started = performance.now();
    expect(storeError(await failureOf(get()))).toMatchObject({ code: "UNAVAILABLE", status: 503 });
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(server.seen.length).toBeGreaterThan(2);
  });

  it("names what a proxy sends instead of S3 without repeating it", async () => {
    server.script(answer(404, "<html><Code><script>alert(1)</script></Code></html>"));
    expect(await failureOf(get())).toMatchObject({ message: "the object store answered 404 to GET a/b c", code: "" });
  });

  it("puts the bucket where the location says", async () => {
    const credentials = async () => ({ accessKeyId: "id", secretAccessKey: "secret" });
    const location = { endpoint: "https://s3.eu-west-3.amazonaws.com", region: "eu-west-3", bucket: "images" };
    const hosted = createS3Client({ location: { ...location, pathStyle: false }, credentials });
    const url = new URL(await hosted.presign("a/b c", 60));
    expect(url.origin + url.pathname).toBe("https://images.s3.eu-west-3.amazonaws.com/a/b%20c");
    const below = createS3Client({
      location: { ...location, endpoint: "http://gw:9000/s3", pathStyle: true },
      credentials,
    });
    expect(await below.presign("k", 60)).toMatch(/^http:\/\/gw:9000\/s3\/images\/k\?X-Amz-Algorithm=/);
  });
});

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}
