import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { type Certificate, createCertificate } from "@cache-registry/runtime/certificate";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { listen } from "@cache-registry/runtime/server";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AdmissionAnswer } from "./admission-review.ts";
import { createApp } from "./app.ts";
import { UNGATED } from "./cluster-state/cluster-view.ts";
import { createReviewer } from "./review-pod.ts";
import { testPod } from "./testing/pods.ts";
import { patchIn, testRequest, testReview } from "./testing/reviews.ts";
import { testRules } from "./testing/rules.ts";

const SERVICE = "cache-registry-webhook.cache-registry-system.svc";

type Answer = { readonly status: number; readonly text: string; readonly issuer: string };

let folder: string;
let certificate: Certificate;
let server: FastifyInstance;
let port: number;

const path = (file: string) => join(folder, file);

/** A self-signed pair, as the trust anchor of its own. */
function issue(name: string): void {
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${SERVICE}`];
  const files = ["-keyout", path(`${name}.key`), "-out", path(`${name}.crt`)];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, ...files], { stdio: "ignore" });
}

function install(name: string): void {
  copyFileSync(path(`${name}.key`), path("tls.key"));
  copyFileSync(path(`${name}.crt`), path("tls.crt"));
}

function post(
  body: string | Buffer,
  options: { readonly type?: string; readonly ca?: string; readonly agent?: https.Agent; readonly path?: string } = {},
): Promise<Answer> {
  const { type = "application/json", ca = "first", agent, path: target = "/mutate" } = options;
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        host: "127.0.0.1",
        port,
        path: target,
        method: "POST",
        servername: SERVICE,
        ca: readFileSync(path(`${ca}.crt`)),
        headers: { "content-type": type, "content-length": Buffer.byteLength(body) },
        ...(agent ? { agent } : { agent: false }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        const issuer = String((response.socket as TLSSocket).getPeerCertificate().subject.CN);
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), issuer }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

function answerIn({ text }: Answer): AdmissionAnswer {
  return JSON.parse(text) as AdmissionAnswer;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "webhook-app-"));
  issue("first");
  issue("second");
  install("first");
  const [logger, metrics] = [silentLogger(), createMetrics({ defaultMetrics: false })];
  const files = { certFile: path("tls.crt"), keyFile: path("tls.key") };
  certificate = await createCertificate({ ...files, name: "webhook", logger, metrics, pollInterval: 50 });
  const review = createReviewer({
    mode: "rewrite",
    rules: testRules(),
    cluster: () => UNGATED,
    logReviews: true,
    logger,
    metrics,
  });
  server = createApp({ review, logger, metrics, certificate });
  await listen(server, { host: "127.0.0.1", port: 0 });
  port = (server.server.address() as AddressInfo).port;
});

afterAll(async () => {
  await server.close();
  certificate.close();
  rmSync(folder, { recursive: true });
});

describe("POST /mutate over TLS", () => {
  it("answers a review as the API server writes it", async () => {
    const answer = await post(JSON.stringify(testReview()));
    expect(answer.status).toBe(200);
    const { apiVersion, kind, response } = answerIn(answer);
    expect({ apiVersion, kind }).toEqual({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" });
    expect(response).toMatchObject({ uid: testRequest().uid, allowed: true, patchType: "JSONPatch" });
    expect(patchIn(answerIn(answer))).toHaveLength(3);
  });

  it("needs no more of a request than what it uses", async () => {
    const { uid, operation, resource, object } = testRequest();
    const answer = await post(JSON.stringify(testReview({ uid, operation, resource, object })));
    expect(patchIn(answerIn(answer))).toHaveLength(3);
    const deletion = await post(JSON.stringify(testReview({ uid, operation: "DELETE", resource })));
    expect(answerIn(deletion).response).toEqual({ uid, allowed: true });
  });

  it("takes a pod as large as they come", async () => {
    const object = { ...testPod(), junk: Array.from({ length: 60 }, () => "x".repeat(50_000)) };
    const request = testRequest({ operation: "CREATE", object, oldObject: object });
    const body = JSON.stringify(testReview(request));
    expect(body.length).toBeGreaterThan(5_900_000);
    const answer = await post(body);
    expect(answer.status).toBe(200);
    expect(patchIn(answerIn(answer))).toHaveLength(3);
  });

  it("takes maps with any keys, and a charset", async () => {
    const text = JSON.stringify(testReview()).replace(
      '"status":{}',
      '"status":{"__proto__":{"a":1},"constructor":{"prototype":{}}}',
    );
    const answer = await post(text, { type: "application/json; charset=utf-8" });
    expect(text).toContain("__proto__");
    expect(patchIn(answerIn(answer))).toHaveLength(3);
    expect(({} as { a?: number }).a).toBeUndefined();
  });

  it.each<[string, string | Buffer]>([
    ["nothing", ""],
    ["half of a document", JSON.stringify(testReview()).slice(0, 200)],
    ["no UTF-8", Buffer.from([0xff, 0xfe, 0x7b])],
    ["null", "null"],
    ["a list", "[]"],
    ["a text", '"AdmissionReview"'],
    ["no request", '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}'],
    [
      "an answer",
      '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"a","allowed":true}}',
    ],
    ["no uid", JSON.stringify(testReview({ ...testRequest(), uid: "" }))],
    ["another version", JSON.stringify(testReview()).replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1")],
    ["another kind", JSON.stringify(testReview()).replace('"AdmissionReview"', '"ConversionReview"')],
    ["two million brackets", "[".repeat(2_000_000)],
  ])("refuses what is no review: %s", async (_, body) => {
    const { status, text } = await post(body);
    expect(status).toBe(400);
    expect(text).toContain("BAD_REQUEST");
    expect(text.length).toBeLessThan(300);
  });

  it("refuses other types, sizes, paths and methods", async () => {
    expect((await post("a=b", { type: "application/x-www-form-urlencoded" })).status).toBe(415);
    expect((await post(JSON.stringify(testReview()), { type: "text/plain" })).status).toBe(415);
    expect((await post(JSON.stringify(testReview()), { type: "application/yaml" })).status).toBe(415);
    const tooLarge = await post(`"${"x".repeat(9 * 1024 * 1024)}"`).catch((error: NodeJS.ErrnoException) => error.code);
    // The connection may break before the whole body is written.
    expect([413, "ECONNRESET", "EPIPE"]).toContain(typeof tooLarge === "object" ? tooLarge.status : tooLarge);
    expect((await post("{}", { path: "/" })).status).toBe(404);
    expect((await post(JSON.stringify(testReview()))).status).toBe(200);
  });

  it("serves a new certificate without dropping a connection", async () => {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    const body = JSON.stringify(testReview());
    const failures: unknown[] = [];
    let stop = false;
    let served = 0;
    const load = (async () => {
      while (!stop) {
        const { status } = await post(body, { agent });
        if (status === 200) served += 1;
        else failures.push(status);
      }
    })().catch((error: unknown) => failures.push(error));

    expect((await post(body)).issuer).toBe("first");
    install("second");
    await expect
      .poll(() => post(body, { ca: "second" }).then(({ issuer }) => issuer, String), { timeout: 10_000 })
      .toBe("second");
    const before = served;
    await expect.poll(() => served).toBeGreaterThan(before + 5);
    stop = true;
    await load;
    agent.destroy();
    expect(failures).toEqual([]);
    // New connections that trust the old one only are refused.
    await expect(post(body, { ca: "first" })).rejects.toThrow(/self-signed|certificate/);
  });
});
