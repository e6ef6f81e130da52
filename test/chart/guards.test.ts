import { describe, expect, it } from "vitest";
import { expectRefusal, type Guard, registry, SECRET, type Values } from "./guard.ts";
import { render } from "./helm.ts";
import { EXTERNAL_REGISTRY, HIGHLY_AVAILABLE } from "./value-sets.ts";

function upstream(values: Values): Values {
  return { upstreams: [{ registry: "docker.io" }, { registry: "a.example.com", ...values }] };
}

const USER = { enabled: true, username: "a", password: "b" };
const S3 = { driver: "s3", s3: { bucket: "images" } };

const EXPOSURE: readonly Guard[] = [
  ["an Ingress without a host", registry({ ingress: { enabled: true } }), ["registry.ingress.hosts"]],
  [
    "an HTTPRoute without a host",
    registry({ httpRoute: { enabled: true, parentRefs: [{ name: "public" }] } }),
    ["registry.httpRoute.hostnames"],
  ],
  [
    "an HTTPRoute without a Gateway",
    registry({ httpRoute: { enabled: true, hostnames: ["images.example.com"] } }),
    ["registry.httpRoute.parentRefs"],
  ],
  ["Istio without a host", registry({ istio: { enabled: true } }), ["registry.istio.hosts"]],
  [
    "a gateway that speaks HTTP to a registry with TLS",
    registry({ tls: { enabled: true }, istio: { enabled: true, hosts: ["images.example.com"] } }),
    ["speaks plain HTTP", "registry.tls.enabled to false", "registry.httpRoute"],
  ],
  [
    "a gateway that would look for another key",
    registry({
      tls: { enabled: true, existingSecret: "wildcard", caKey: "chain.pem" },
      httpRoute: { enabled: true, hostnames: ["images.example.com"], parentRefs: [{ name: "public" }] },
    }),
    ["registry.tls.caKey is chain.pem", "registry.httpRoute.caCertificateRefs"],
  ],
  [
    "a token that leaves the cluster over plain HTTP",
    registry({ service: { type: "LoadBalancer", exposeManagement: true } }),
    ["registry.service.exposeManagement is true", "registry.management.tls to true"],
  ],
  [
    "the management port where there is one Service",
    registry({ service: { exposeManagement: true }, management: { tls: true } }),
    ["registry.service.type to NodePort or LoadBalancer"],
  ],
];

const EXTERNAL: readonly Guard[] = [
  ["no URL", registry({ enabled: false }), ["registry.enabled is false", "registry.externalUrl"]],
  [
    "no URL of its management API",
    registry({ enabled: false, externalUrl: "https://images.example.com" }),
    ["registry.external.managementUrl"],
  ],
  [
    "no token",
    registry({ enabled: false, externalUrl: "http://a", external: { managementUrl: "http://a:8081" } }),
    ["registry.external.tokenSecret.name"],
  ],
  [
    "a password in its URL",
    registry({ enabled: false, externalUrl: "https://me:secret@images.example.com" }),
    ["registry.externalUrl"],
  ],
];

const SCALING: readonly Guard[] = [
  [
    "autoscaled controllers",
    { controllers: { hpa: { enabled: true } } },
    ["one of the controllers works", "controllers.replicas"],
  ],
  [
    "autoscaling upside down",
    { webhook: { hpa: { enabled: true, minReplicas: 7 } } },
    ["webhook.hpa.minReplicas is above webhook.hpa.maxReplicas"],
  ],
  [
    "autoscaling by nothing",
    { webhook: { hpa: { enabled: true, targetCPUUtilization: 0 } } },
    ["webhook.hpa.targetCPUUtilization or webhook.hpa.metrics"],
  ],
  [
    "rewriting to a proxy that is not there",
    { proxy: { enabled: false } },
    ["localhost:7439, where nothing listens", "mode to mirror"],
  ],
  [
    "one port for pulls and probes",
    { endpoint: "localhost:7000", proxy: { managementPort: 7000 } },
    ["proxy.managementPort is the port of endpoint localhost:7000"],
  ],
];

const SECRETS: readonly Guard[] = [
  [
    "a password of an upstream",
    upstream({ credentials: { username: "me", password: SECRET } }),
    ["upstreams[1].credentials.password", "upstreams[1].credentials.existingSecret"],
  ],
  [
    "one password of several",
    upstream({ credentials: [{ existingSecret: "a" }, { prefix: "x", username: "me", password: SECRET }] }),
    ["upstreams[1].credentials.password"],
  ],
  [
    "a proxy's password",
    upstream({ proxy: `http://me:${SECRET}@proxy:3128` }),
    ["upstreams[1].proxy holds a password", "registry.extraEnv"],
  ],
  [
    "the common proxy's password",
    { forwardProxy: { https: `http://me:${SECRET}@proxy:3128` } },
    ["forwardProxy.https holds a password", "HTTPS_PROXY", "proxy.extraEnv"],
  ],
  [
    "a database's password",
    registry({ config: { storage: { metadata: { postgres: { url: `postgres://me:${SECRET}@db/images` } } } } }),
    ["registry.config holds a password", "registry.extraVolumes", "urlFile"],
  ],
  [
    "a password in a configuration",
    {
      proxy: {
        config: { upstreams: [{ registry: "a.example.com", credentials: { username: "me", password: SECRET } }] },
      },
    },
    ["proxy.config holds a password", "passwordFile"],
  ],
];

const CREDENTIALS: readonly Guard[] = [
  ["of nobody", upstream({ credentials: { prefix: "team" } }), ["upstreams[1].credentials says nothing of who we are"]],
  [
    "with a key of no Secret",
    upstream({ credentials: { username: "a", key: "x" } }),
    ["upstreams[1].credentials.existingSecret"],
  ],
  [
    "of a cloud, without the Secret's key",
    upstream({ credentials: { provider: "gcp", existingSecret: "gcp" } }),
    ["upstreams[1].credentials.key"],
  ],
  [
    "of Amazon, from a file",
    upstream({ credentials: { provider: "ecr", existingSecret: "aws", key: "x" } }),
    ["the provider ecr takes no file", "registry.serviceAccount.annotations"],
  ],
  [
    "with a client certificate of no Secret",
    upstream({ tls: { clientCertificate: true } }),
    ["upstreams[1].tls.existingSecret"],
  ],
];

describe.each([
  ["exposure", EXPOSURE],
  ["the registry of another cluster", EXTERNAL],
  ["scaling", SCALING],
  ["secrets in values", SECRETS],
  ["credentials", CREDENTIALS],
])("%s: a sentence says what to change about", (_, guards) => {
  it.each(guards)("%s", async (_what, values, words) => expectRefusal(values, words));
});

describe("what is not refused", () => {
  it.each([
    ["replicas on S3 and PostgreSQL", HIGHLY_AVAILABLE],
    ["their autoscaling", { registry: { ...HIGHLY_AVAILABLE.registry, hpa: { enabled: true } } }],
    ["no replica at all", registry({ replicas: 0 })],
    ["a registry elsewhere", EXTERNAL_REGISTRY],
    [
      "an Ingress for the hosts of upstreams alone",
      { ...upstream({ hosts: ["a.local"] }), ...registry({ ingress: { enabled: true } }) },
    ],
    ["pushes that may be lost", registry({ auth: { htpasswd: USER }, ephemeralPushes: true })],
    [
      "pushes to S3 with a database on a volume",
      registry({ auth: { htpasswd: USER }, storage: { blobs: S3 }, persistence: { enabled: true } }),
    ],
    ["mirror mode without a proxy", { mode: "mirror", proxy: { enabled: false } }],
    ["a proxy with a user name only", { forwardProxy: { http: "http://me@proxy:3128" } }],
  ])("%s", async (_, values) => {
    expect((await render({ values })).workloads().length).toBeGreaterThan(1);
  });
});
