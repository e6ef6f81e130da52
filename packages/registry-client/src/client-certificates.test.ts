import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createLiveUpstreams, type UpstreamSettings } from "./live-upstreams.ts";
import { makeCertificate } from "./testing/certificate.ts";
import { upstreamListSchema } from "./upstream.ts";

const NAME = "cache_registry_upstream_client_certificate_not_after_seconds";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "client-certificates-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

it("says when client certificates expire, for the upstreams of now and the files of now", async () => {
  const files = makeCertificate(folder, "client");
  const settings = (...upstreams: object[]): UpstreamSettings => ({
    upstreams: upstreamListSchema.parse(upstreams),
    upstreamPolicy: "listed",
  });
  const metrics = createMetrics({ defaultMetrics: false });
  const plain = { registry: "plain.example.com" };
  const gone = { certFile: join(folder, "gone"), keyFile: join(folder, "gone") };
  const live = createLiveUpstreams({
    settings: settings({ registry: "mtls.example.com", tls: files }, plain, {
      registry: "gone.example.com",
      tls: gone,
    }),
    metrics,
    logger: silentLogger(),
  });
  const lines = async () => (await metrics.text()).split("\n").filter((line) => line.startsWith(`${NAME}{`));
  const end = new X509Certificate(readFileSync(files.certFile)).validToDate.getTime() / 1_000;
  expect(await lines()).toEqual([`${NAME}{upstream="mtls.example.com"} ${end}`]);
  live.replace(settings(plain));
  expect(await lines()).toEqual([]);
  await live.client.close();
});
