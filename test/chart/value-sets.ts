/** Values that several tests render. */

/** One of each way to prove who we are to an upstream. */
export const UPSTREAMS = [
  { registry: "harbor:5000", tls: { insecureSkipVerify: true } },
  {
    registry: "docker.io",
    endpoints: ["https://mirror.example.com", "http://10.0.0.1:5001"],
    paths: ["hub"],
    hosts: ["docker.example.com"],
    credentials: { existingSecret: "hub.login" },
    tagTtl: "1m",
    tags: [
      { match: "^latest$", ttl: "0s" },
      { match: "^v", freeze: true },
    ],
    timeouts: { connect: "1s", headers: "2s", idle: "3s" },
    concurrency: 8,
    rate: 2.5,
    proxy: "http://proxy.example.com:3128",
  },
  {
    registry: "harbor.example.com",
    tokenHosts: ["login.example.com"],
    tls: { existingSecret: "harbor-tls", clientCertificate: true },
    credentials: [
      { existingSecret: "harbor-docker", key: ".dockerconfigjson" },
      { prefix: "team/x", existingSecret: "harbor-team" },
    ],
  },
  { registry: "a.example.com", tls: { existingSecret: "mutual", ca: false, clientCertificate: true } },
  { registry: "x.pkg.dev", credentials: { provider: "gcp", existingSecret: "gcp", key: "key.json" } },
  { registry: "y.azurecr.io", credentials: { provider: "acr", existingSecret: "acr", key: "secret", clientId: "1" } },
  { registry: "1.dkr.ecr.eu-west-3.amazonaws.com", credentials: { provider: "ecr", region: "eu-west-3" } },
];

export const EVERY_VALUE = {
  mode: "mirror",
  endpoint: "localhost:7500",
  cachedImagesExpiryDelay: "12h",
  forwardProxy: { http: "http://proxy:3128", https: "http://proxy:3129", noProxy: [".svc", "10.0.0.0/8"] },
  upstreams: UPSTREAMS,
  registry: {
    upstreamPolicy: "any",
    externalNames: ["images.example.com"],
    airGapped: true,
    auth: { htpasswd: { enabled: true, username: "ci", password: "s3cret" } },
    ephemeralPushes: true,
    tls: { enabled: true },
    storage: { maxSize: "1.5Gi", snapshots: { enabled: false, schedule: "1 2 * * *", keep: 2 } },
    delete: { enabled: false },
    garbageCollectionSchedule: "*/10 * * * *",
    gc: { grace: "5s", untagged: { local: "delete", after: "1d" } },
    uploads: { idle: "1h" },
    cache: { unusedFor: "10d" },
    scrub: { schedule: "1 2 * * 3", rate: "1Mi" },
    push: { requireBlobs: false },
    log: { level: "debug", format: "text", access: false },
  },
  webhook: {
    images: { allow: ["docker.io/*"], deny: ["quay.io"], public: ["ghcr.io/a/b"], nodeCredentials: [] },
    owners: { allow: ["apps/ReplicaSet"] },
    dryRun: true,
    log: { level: "trace", format: "text", access: false },
  },
  controllers: {
    platforms: ["linux/amd64", "linux/arm64"],
    revisionsKept: 1,
    owner: "cluster-1",
    log: { level: "error", format: "text", access: false },
  },
  proxy: {
    connectTimeout: "1s",
    upstreamCredentials: true,
    log: { level: "warn", format: "text", access: false },
  },
};

/** Values of the registry's stores. */
function stores(blobs: object, metadata: object = {}, rest: object = {}) {
  return { registry: { storage: { blobs, metadata }, ...rest } };
}

const POSTGRES = {
  driver: "postgres",
  postgres: { existingSecret: "database", urlKey: "uri", caKey: "ca.pem", connections: 5 },
};
const S3 = {
  driver: "s3",
  s3: {
    bucket: "images",
    region: "eu-west-3",
    endpoint: "http://minio:9000",
    prefix: "a",
    pathStyle: false,
    existingSecret: "s3",
  },
};

export const STORES = {
  "S3, the credentials from a Secret": stores({ ...S3, redirect: "presigned" }),
  "S3, the credentials from the environment": stores({ driver: "s3", s3: { bucket: "images", pathStyle: true } }),
  "GCS, the key from a Secret": stores({ driver: "gcs", gcs: { bucket: "images", existingSecret: "gcs" } }),
  "GCS and workload identity": stores({ driver: "gcs", gcs: { bucket: "images", prefix: "p" } }),
  "a GCS emulator": stores({ driver: "gcs", gcs: { bucket: "images", endpoint: "http://gcs:4443", anonymous: true } }),
  "Azure, the key from a Secret": stores({
    driver: "azure",
    azure: { account: "images1", container: "oci", existingSecret: "azure" },
    redirect: "presigned",
  }),
  "Azure, a shared access signature": stores({
    driver: "azure",
    azure: { account: "images1", container: "oci", existingSecret: "azure", credential: "sasToken" },
  }),
  "blobs in memory": stores({ driver: "memory" }, {}, { storage: { blobs: { driver: "memory" }, maxSize: "256Mi" } }),
  "a shared claim and PostgreSQL": stores({ redirect: "https://cdn.example.com/x" }, POSTGRES, {
    replicas: 3,
    persistence: { enabled: true, accessModes: ["ReadWriteMany"] },
  }),
  "PostgreSQL with one replica and a volume": stores({}, POSTGRES, { persistence: { enabled: true } }),
  "a folder of the node": { registry: { persistence: { enabled: true, hostPath: "/srv/images" } } },
};

export const HIGHLY_AVAILABLE = {
  registry: {
    replicas: 3,
    storage: { blobs: S3, metadata: POSTGRES },
    auth: { htpasswd: { enabled: true, existingSecret: "users" } },
  },
};

export const EXTERNAL_REGISTRY = {
  upstreams: UPSTREAMS,
  registry: {
    enabled: false,
    externalUrl: "https://images.example.com",
    external: {
      managementUrl: "https://images.example.com:8081",
      tokenSecret: { name: "images-token" },
      caSecret: { name: "images-ca" },
    },
  },
  controllers: { owner: "cluster-2" },
};
