import { inspect } from "node:util";
import type { AwsCredentials } from "@cache-registry/runtime/cloud/aws-signature";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeError } from "../object-store/errors.ts";
import { answer, cut, refusal, TEST_SECRET } from "../object-store/test-server.ts";
import { createS3Client } from "./client.ts";
import { type ScriptedS3, startScriptedS3 } from "./test-server.ts";
import { sizeOf } from "./upload.ts";

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

  describe("with temporary credentials", () => {
    const renewing = () => {
      let given = 0;
      const next = (): AwsCredentials => {
        given += 1;
        return { accessKeyId: `id-${given}`, secretAccessKey: TEST_SECRET, sessionToken: `token-${given}` };
      };
      let held = next();
      const refuse = (refused: AwsCredentials) => {
        if (refused === held) held = next();
      };
      return createS3Client({ location: server.location, credentials: async () => held, refuse });
    };
    const tokens = () => server.seen.map(({ headers }) => headers["x-amz-security-token"]);

    it.each([
      ["ExpiredToken", 400],
      ["InvalidToken", 400],
      ["InvalidAccessKeyId", 403],
      ["SignatureDoesNotMatch", 403],
    ])("takes others after %s, once, with the body anew", async (code, status) => {
      const client = renewing();
      const body = { sha256: "0".repeat(64), length: 4, chunks: () => chunks("ab", "cd") };
      server.script(refusal(status, code), answer(200));
      await client.text({ method: "PUT", key: "k", body });
      expect(tokens()).toEqual(["token-1", "token-2"]);
      expect(server.seen[1]?.headers.authorization).toMatch(/Credential=id-2.*SignedHeaders=[^,]*x-amz-security-token/);
      expect(server.seen[1]?.body.toString()).toBe("abcd");
      server.script(refusal(status, code));
      await expect(client.text({ method: "GET", key: "k" })).rejects.toMatchObject({ code });
      expect(tokens()).toEqual(["token-2", "token-3"]);
      client.close();
    });

    it("keeps them when it is the right that is missing", async () => {
      const client = renewing();
      server.script(refusal(403, "AccessDenied"));
      await expect(client.text({ method: "GET", key: "k" })).rejects.toMatchObject({ code: "AccessDenied" });
      expect(tokens()).toEqual(["token-1"]);
      client.close();
    });

    it("learns from a GET why a HEAD was refused", async () => {
      const client = renewing();
      const size = answer(200, "", { "content-length": "7" });
      server.script(answer(400), refusal(400, "ExpiredToken"), answer(200, "content"), size);
      expect(await sizeOf(client, "k")).toBe(7);
      expect(server.seen.map(({ method }) => method)).toEqual(["HEAD", "GET", "GET", "HEAD"]);
      expect(tokens()).toEqual(["token-1", "token-1", "token-2", "token-2"]);
      server.script(answer(403), refusal(403, "AccessDenied"));
      await expect(sizeOf(client, "k")).rejects.toMatchObject({ code: "AccessDenied" });
      client.close();
    });

    it("does so for files, of which one was read before and one after they were replaced", async () => {
      const mixed = { accessKeyId: "new", secretAccessKey: "old" };
      const reads = [mixed, { ...mixed, secretAccessKey: "new" }];
      const credentials = async () => reads.shift() ?? { accessKeyId: "new", secretAccessKey: "new" };
      const client = createS3Client({ location: server.location, credentials });
      server.script(refusal(403, "SignatureDoesNotMatch"), answer(200, "whole"));
      expect(await client.text({ method: "GET", key: "k" })).toBe("whole");
      client.close();
    });

    it("puts the token into URLs that it signs", async () => {
      const client = renewing();
      expect(new URL(await client.presign("k", 60)).searchParams.get("X-Amz-Security-Token")).toBe("token-1");
      client.close();
    });
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
