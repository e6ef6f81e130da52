import { loadConfig } from "@cache-registry/runtime/config";
import { expect, it } from "vitest";
import { WebhookConfig } from "./config.ts";
import { testConfig } from "./testing/rules.ts";

it("has the defaults of the design", () => {
  expect(testConfig()).toEqual({
    listen: { host: "0.0.0.0", port: 8443, tls: { certFile: "tls.crt", keyFile: "tls.key" } },
    management: { host: "127.0.0.1", port: 8082 },
    mode: "rewrite",
    endpoint: "localhost:7439",
    registries: [],
    registriesWithCredentials: [],
    images: {
      allow: [],
      deny: [],
      public: [],
      nodeCredentials: [
        "*.dkr.ecr.*.amazonaws.com",
        "*.dkr.ecr.*.amazonaws.com.cn",
        "*.dkr.ecr-fips.*.amazonaws.com",
        "*.dkr-ecr*.on.aws",
        "*.dkr-ecr*.on.amazonwebservices.com.cn",
        "*.azurecr.io",
        "*.azurecr.cn",
        "*.azurecr.us",
        "*.pkg.dev",
        "gcr.io",
        "*.gcr.io",
      ],
    },
    privateImages: { mode: "skip", namespaces: [] },
    owners: {
      allow: ["apps/ReplicaSet", "apps/StatefulSet", "apps/DaemonSet", "batch/Job", "v1/ReplicationController", "none"],
    },
    optIn: false,
    dryRun: false,
    shutdown: { grace: 0, drainTimeout: 25_000 },
    log: { level: "info", access: true, format: "json" },
  });
});

it("normalises names of registries", () => {
  expect(testConfig({ registries: ["GHCR.io", "index.docker.io", "Harbor:5000"] }).registries).toEqual([
    "ghcr.io",
    "docker.io",
    "harbor:5000",
  ]);
});

it("does not start without a certificate, and says why", () => {
  expect(() => loadConfig({ schema: WebhookConfig, env: {} })).toThrow(/listen\.tls.*HTTPS/s);
  const env = { CREG_LISTEN__TLS__CERTFILE: "a", CREG_LISTEN__TLS__KEYFILE: "b" };
  expect(loadConfig({ schema: WebhookConfig, env }).listen.tls).toEqual({ certFile: "a", keyFile: "b" });
});

it.each([
  ["mode", { mode: "proxy" }],
  ["endpoint", { endpoint: "http://localhost:7439" }],
  ["endpoint", { endpoint: "localhost:7439/" }],
  ["registries", { registries: ["https://ghcr.io"] }],
  ["images", { images: { deny: ["nginx"] } }],
  ["images", { images: { refuse: [] } }],
  ["privateImages", { privateImages: { mode: "copy" } }],
  ["owners", { owners: { allow: ["ReplicaSet"] } }],
  ["owners", { owners: { allow: ["apps/v1/ReplicaSet"] } }],
  ["registriesWithCredentials", { registriesWithCredentials: ["https://ghcr.io"] }],
  ["registriesWithCredentials", { registriesWithCredentials: ["ghcr.io/Team"] }],
  ["clusterStateFile", { clusterStateFile: "" }],
  ["optIn", { optIn: "namespace" }],
  ["dryRun", { dryRun: "yes" }],
  ["clusterstate", { clusterstate: {} }],
])("refuses a bad %s: %j", (key, keys) => {
  const issue = WebhookConfig.safeParse({ listen: { tls: { certFile: "a", keyFile: "b" } }, ...keys }).error?.issues[0];
  expect(JSON.stringify(issue)).toContain(`"${key}"`);
});
