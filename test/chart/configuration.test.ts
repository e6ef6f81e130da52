import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";

const LOG = { level: "info", format: "json", access: true };
const UPSTREAM = {
  registry: "docker.io",
  endpoints: ["http://10.88.0.1:5001"],
  tagTtl: "1s",
  timeouts: { connect: "1s" },
};

describe("the registry's configuration", () => {
  it("by default", async () => {
    expect((await render({ release: "r", namespace: "n" })).config("registry")).toEqual({
      listen: { host: "0.0.0.0", port: 5000 },
      management: { host: "0.0.0.0", port: 8081, tokenFile: "/etc/cache-registry/management/token" },
      storage: {
        blobs: { driver: "filesystem", filesystem: { path: "/var/lib/cache-registry" } },
        metadata: { driver: "sqlite", sqlite: { path: "/var/lib/cache-registry/metadata.db" } },
        snapshots: { enabled: true, schedule: "*/10 * * * *", keep: 6 },
        maxSize: 1_717_986_918,
      },
      airGapped: false,
      upstreamPolicy: "public",
      externalNames: [
        "localhost:7439",
        "r-cache-registry-registry:5000",
        "r-cache-registry-registry.n:5000",
        "r-cache-registry-registry.n.svc:5000",
        "r-cache-registry-registry.n.svc.cluster.local:5000",
      ],
      auth: { anonymousPull: true, anonymousPush: false },
      delete: { enabled: true },
      push: { requireBlobs: true },
      gc: { schedule: "17 3 * * *", grace: "1h", untagged: { local: "keep", after: "7d" } },
      uploads: { idle: "24h" },
      cache: { unusedFor: "30d" },
      scrub: { rate: "32Mi" },
      plugins: [],
      shutdown: { drainTimeout: "45s" },
      log: LOG,
    });
  });

  it("with values", async () => {
    const registry = {
      upstreamPolicy: "listed",
      externalNames: ["images.example.com"],
      delete: { enabled: false },
      garbageCollectionSchedule: "*/5 * * * *",
      gc: { grace: "2s" },
      ephemeralPushes: true,
      auth: { htpasswd: { enabled: true, existingSecret: "users" } },
      log: { access: false },
    };
    const config = (await render({ values: { registry, upstreams: [UPSTREAM], endpoint: "localhost:7500" } })).config(
      "registry",
    );
    expect(config).toMatchObject({
      upstreams: [UPSTREAM],
      upstreamPolicy: "listed",
      externalNames: expect.arrayContaining(["localhost:7500", "images.example.com"]),
      delete: { enabled: false },
      gc: { schedule: "*/5 * * * *", grace: "2s" },
      auth: { anonymousPull: true, anonymousPush: false, htpasswdFile: "/etc/cache-registry/auth/htpasswd" },
      log: { level: "info", access: false },
    });
  });
});

describe("the webhook's configuration", () => {
  it("by default", async () => {
    expect((await render()).config("webhook")).toEqual({
      listen: {
        host: "0.0.0.0",
        port: 8443,
        tls: { certFile: "/etc/cache-registry/tls/tls.crt", keyFile: "/etc/cache-registry/tls/tls.key" },
      },
      management: { host: "0.0.0.0", port: 8082 },
      mode: "rewrite",
      endpoint: "localhost:7439",
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
        allow: [
          "apps/ReplicaSet",
          "apps/StatefulSet",
          "apps/DaemonSet",
          "batch/Job",
          "v1/ReplicationController",
          "none",
        ],
      },
      optIn: false,
      clusterStateFile: "/etc/cache-registry/cluster-state/state.json",
      dryRun: false,
      shutdown: { grace: "5s", drainTimeout: "10s" },
      log: LOG,
    });
  });

  it("with values", async () => {
    const images = { allow: ["docker.io/library/*"], deny: ["quay.io"], public: ["ghcr.io"], nodeCredentials: [] };
    const webhook = { images, owners: { allow: ["none"] }, dryRun: true };
    const values = {
      mode: "mirror",
      endpoint: "localhost:7500",
      webhook,
      upstreams: [UPSTREAM, { registry: "harbor:5000" }],
    };
    expect((await render({ values })).config("webhook")).toMatchObject({
      mode: "mirror",
      endpoint: "localhost:7500",
      registries: ["docker.io", "harbor:5000"],
      ...webhook,
    });
  });
});

it("the webhook knows for which upstreams the registry has credentials", async () => {
  const credentials = { existingSecret: "ecr" };
  const upstreams = [
    UPSTREAM,
    { registry: "1.dkr.ecr.eu-west-1.amazonaws.com", credentials },
    { registry: "gcr.io" },
    // other projects there are the nodes' to pull
    { registry: "x.pkg.dev", credentials: [{ prefix: "project/images", ...credentials }] },
  ];
  const manifests = await render({ values: { upstreams }, arguments: ["--skip-schema-validation"] });
  expect(manifests.config("webhook").registriesWithCredentials).toEqual([
    "1.dkr.ecr.eu-west-1.amazonaws.com",
    "x.pkg.dev/project/images",
  ]);
  expect((await render()).config("webhook")).not.toHaveProperty("registriesWithCredentials");
});

describe("the controllers' configuration", () => {
  it("by default", async () => {
    expect((await render({ release: "r" })).config("controllers")).toEqual({
      management: { host: "0.0.0.0", port: 8083 },
      mode: "rewrite",
      endpoint: "localhost:7439",
      registry: {
        url: "http://r-cache-registry-registry:8081",
        tokenSecret: { name: "r-cache-registry-management-token", key: "token" },
      },
      expiryDelay: "30d",
      platforms: "auto",
      privateImages: { mode: "skip", namespaces: [] },
      revisionsKept: 2,
      certificates: { mode: "certManager" },
      health: { registryUnready: "60s", proxiesUnready: 10, recovered: "30s" },
      loops: { recreations: 5, within: "10m", leaveAloneFor: "24h" },
      clusterState: { configMap: "r-cache-registry-cluster-state" },
      proxy: { daemonSet: "r-cache-registry-proxy" },
      nodeTaint: { enabled: false, key: "cache-registry.enix.io/proxy-not-ready" },
      leaderElection: { enabled: true, name: "r-cache-registry-controllers" },
      log: LOG,
    });
  });

  it("with values", async () => {
    const controllers = { platforms: ["linux/amd64", "linux/arm64"], revisionsKept: 0 };
    expect(
      (
        await render({ values: { mode: "mirror", endpoint: "localhost:7500", upstreams: [UPSTREAM], controllers } })
      ).config("controllers"),
    ).toMatchObject({
      registries: ["docker.io"],
      mode: "mirror",
      endpoint: "localhost:7500",
      ...controllers,
    });
  });

  it.each([
    [30, "30d"],
    [0, "0d"],
    [1_000_000, "1000000d"],
    ["7", "7d"],
    ["10s", "10s"],
    ["1h30m", "1h30m"],
  ])("takes cachedImagesExpiryDelay %j as %s", async (cachedImagesExpiryDelay, expiryDelay) => {
    expect((await render({ values: { cachedImagesExpiryDelay } })).config("controllers").expiryDelay).toBe(expiryDelay);
  });
});

describe("the proxy's configuration", () => {
  it("by default", async () => {
    expect((await render({ release: "r", namespace: "n" })).config("proxy")).toEqual({
      listen: { hosts: ["127.0.0.1", "::1"], port: 7439, handover: "10s" },
      management: { host: "0.0.0.0", port: 8084 },
      registry: { url: "http://r-cache-registry-registry.n.svc:5000", connectTimeout: "200ms" },
      log: LOG,
    });
  });

  it("listens on the endpoint's port and knows the upstreams", async () => {
    const values = { endpoint: "localhost:7500", upstreams: [UPSTREAM], proxy: { connectTimeout: "1s" } };
    expect((await render({ values })).config("proxy")).toMatchObject({
      listen: { hosts: ["127.0.0.1", "::1"], port: 7500 },
      registry: { connectTimeout: "1s" },
      upstreams: [UPSTREAM],
    });
  });
});
