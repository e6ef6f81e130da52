import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { ControllersConfig } from "../../packages/controllers/src/config.ts";
import { RegistryConfig } from "../../packages/registry/src/config.ts";
import { loadConfig } from "../../packages/runtime/src/config.ts";
import { WebhookConfig } from "../../packages/webhook/src/config.ts";
import { render } from "./helm.ts";

const PROCESSES = [
  ["registry", RegistryConfig],
  ["webhook", WebhookConfig],
  ["controllers", ControllersConfig],
] as const;

const EVERY_VALUE = {
  mode: "mirror",
  endpoint: "localhost:7500",
  cachedImagesExpiryDelay: "12h",
  upstreams: [
    { registry: "harbor:5000" },
    {
      registry: "docker.io",
      endpoints: ["https://mirror.example.com", "http://10.0.0.1:5001"],
      paths: ["hub"],
      hosts: ["docker.example.com"],
      tls: { insecureSkipVerify: true },
      tagTtl: "1m",
      tags: [
        { match: "^latest$", ttl: "0s" },
        { match: "^v", freeze: true },
      ],
      timeouts: { connect: "1s", headers: "2s", idle: "3s" },
      concurrency: 8,
    },
  ],
  registry: {
    upstreamPolicy: "any",
    externalNames: ["images.example.com"],
    airGapped: true,
    auth: { htpasswd: { enabled: true, existingSecret: "users" } },
    ephemeralPushes: true,
    storage: { maxSize: "1.5Gi" },
    delete: { enabled: false },
    garbageCollectionSchedule: "*/10 * * * *",
    gc: { grace: "5s" },
    log: { level: "debug", access: false },
  },
  webhook: {
    images: { allow: ["docker.io/*"], deny: ["quay.io"], public: ["ghcr.io/a/b"], nodeCredentials: [] },
    owners: { allow: ["apps/ReplicaSet"] },
    optIn: "pod",
    matchConditions: [{ name: "not-by-me", expression: "request.userInfo.username != 'me'" }],
    dryRun: true,
    log: { level: "trace" },
  },
  controllers: { platforms: ["linux/amd64", "linux/arm64"], revisionsKept: 1, log: { level: "error" } },
};

describe.each(PROCESSES)("the process %s accepts its configuration", (component, schema) => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "creg-chart-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ["with the default values", {}],
    ["with every value changed", EVERY_VALUE],
  ])("%s", async (_, values) => {
    const manifests = await render({ values });
    const file = join(folder, "config.yaml");
    const rendered = manifests.config(component);
    writeFileSync(file, stringify(rendered));
    const env = Object.fromEntries((manifests.container(component).env ?? []).map(({ name, value }) => [name, value]));
    const loaded = loadConfig({ schema, file, env });
    expect(Object.keys(loaded)).toEqual(expect.arrayContaining(Object.keys(rendered)));
  });
});
