import { describe, expect, it } from "vitest";
import { refusal, render } from "./helm.ts";
import type { Manifest, Manifests } from "./manifests.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

interface Certificate extends Manifest {
  readonly spec: Record<string, unknown>;
}

interface Monitor extends Manifest {
  readonly spec: {
    readonly endpoints?: readonly object[];
    readonly podMetricsEndpoints?: readonly { readonly scheme?: string }[];
  };
}

interface Configuration extends Manifest {
  readonly webhooks: readonly [{ readonly clientConfig: { readonly caBundle?: string } }];
}

function configuration(manifests: Manifests) {
  const found = manifests.only<Configuration>("MutatingWebhookConfiguration");
  return { ...found, webhook: found.webhooks[0] };
}

describe("the webhook's certificate", () => {
  it("comes from cert-manager: an own CA signs it and cainjector hands the CA to the API server", async () => {
    const manifests = await render({ release: "r", namespace: "n" });
    const name = "r-cache-registry-webhook";
    const certificates = manifests.ofKind<Certificate>("Certificate");
    const serving = certificates.find(({ metadata }) => metadata.name === name);
    const authority = certificates.find(({ metadata }) => metadata.name === `${name}-ca`);
    expect(manifests.ofKind<Certificate>("Issuer").map(({ metadata, spec }) => [metadata.name, spec])).toEqual([
      [`${name}-ca`, { selfSigned: {} }],
      [name, { ca: { secretName: authority?.spec.secretName } }],
    ]);
    expect(authority?.spec).toMatchObject({ isCA: true, issuerRef: { name: `${name}-ca`, kind: "Issuer" } });
    expect(serving?.spec).toMatchObject({
      issuerRef: { name, kind: "Issuer", group: "cert-manager.io" },
      dnsNames: expect.arrayContaining([`${name}.n.svc`]),
      usages: ["digital signature", "server auth"],
    });
    expect(tlsSecret(manifests)).toBe(serving?.spec.secretName);
    const { metadata, webhook } = configuration(manifests);
    expect(metadata.annotations).toMatchObject({ "cert-manager.io/inject-ca-from": `n/${name}` });
    expect(webhook.clientConfig.caBundle).toBeUndefined();
  });

  it("is issued by the user's issuer when none is to be created", async () => {
    const certificateIssuerRef = { name: "corporate", kind: "ClusterIssuer" };
    const values = { controllers: { webhook: { createCertificateIssuer: false, certificateIssuerRef } } };
    const manifests = await render({ values });
    expect(manifests.ofKind("Issuer")).toEqual([]);
    expect(manifests.only<Certificate>("Certificate").spec.issuerRef).toEqual({
      ...certificateIssuerRef,
      group: "cert-manager.io",
    });
    expect(await refusal({ values: { controllers: { webhook: { createCertificateIssuer: false } } } })).toContain(
      "controllers.webhook.certificateIssuerRef.name",
    );
  });

  it.each([
    ["PEM text", PEM],
    ["base64", Buffer.from(PEM).toString("base64")],
    [
      "wrapped base64",
      Buffer.from(PEM)
        .toString("base64")
        .replace(/(.{20})/g, "$1\n"),
    ],
  ])("can be an existing Secret, its CA given as %s", async (_, caBundle) => {
    const values = { certificates: { existingSecret: "own-tls", caBundle } };
    for (const apiVersions of [[], ["cert-manager.io/v1"]]) {
      const manifests = await render({ values, apiVersions });
      const { metadata, webhook } = configuration(manifests);
      expect(Buffer.from(webhook.clientConfig.caBundle ?? "", "base64").toString()).toBe(PEM);
      expect(metadata.annotations?.["cert-manager.io/inject-ca-from"]).toBeUndefined();
      expect([...manifests.ofKind("Issuer"), ...manifests.ofKind("Certificate")]).toEqual([]);
      expect(tlsSecret(manifests)).toBe("own-tls");
    }
  });

  it("can be told to use cert-manager where its API cannot be seen", async () => {
    const manifests = await render({ values: { certificates: { mode: "certManager" } }, apiVersions: [] });
    expect(manifests.ofKind("Certificate")).toHaveLength(2);
  });

  it("asks for what an existing Secret needs", async () => {
    expect(await refusal({ values: { certificates: { mode: "existingSecret" } } })).toContain(
      "certificates.existingSecret",
    );
    expect(await refusal({ values: { certificates: { existingSecret: "own-tls" } } })).toContain(
      "certificates.caBundle",
    );
  });

  it("refuses a mode that is not offered, also where schemas are skipped", async () => {
    const values = { certificates: { mode: "own" } };
    expect(await refusal({ values })).toContain("one of 'auto', 'certManager', 'selfManaged', 'existingSecret'");
    const unchecked = await refusal({ values, arguments: ["--skip-schema-validation"] });
    expect(unchecked).toContain('certificates.mode "own" is not offered');
  });

  it("waits for the Secret with the pair, and gives the pods nothing else of it", async () => {
    for (const apiVersions of [[], ["cert-manager.io/v1"]]) {
      const volume = (await render({ apiVersions })).pod("webhook").volumes.find(({ name }) => name === "tls");
      expect(volume?.secret).toMatchObject({
        items: [
          { key: "tls.crt", path: "tls.crt" },
          { key: "tls.key", path: "tls.key" },
        ],
      });
      expect(volume?.secret?.optional).toBeUndefined();
    }
  });

  it("has the lifetimes and the domain of the values, whoever issues it", async () => {
    const values = {
      clusterDomain: "k8s.example",
      certificates: { duration: "2d", renewBefore: "1h30m", caDuration: "9d" },
    };
    const issued = (await render({ release: "r", namespace: "n", values })).ofKind<Certificate>("Certificate");
    expect(issued.find(({ metadata }) => metadata.name === "r-cache-registry-webhook")?.spec).toMatchObject({
      duration: "48h",
      renewBefore: "5400s",
      dnsNames: [
        "r-cache-registry-webhook.n.svc",
        "r-cache-registry-webhook.n.svc.k8s.example",
        "r-cache-registry-webhook.n",
        "r-cache-registry-webhook",
      ],
    });
    const own = (await render({ release: "r", namespace: "n", values, apiVersions: [] })).config("controllers");
    expect(own.certificates).toMatchObject({
      ...values.certificates,
      serving: [{ dnsNames: expect.arrayContaining(["r-cache-registry-webhook.n.svc.k8s.example"]) }],
    });
  });
});

describe("without cert-manager", () => {
  const without = { release: "r", namespace: "n", apiVersions: [] } as const;

  it("the controllers make the certificate, in the same Secret, and the template has no caBundle to lose", async () => {
    const manifests = await render(without);
    expect([...manifests.ofKind("Issuer"), ...manifests.ofKind("Certificate")]).toEqual([]);
    const { metadata, webhook } = configuration(manifests);
    expect(webhook.clientConfig).not.toHaveProperty("caBundle");
    expect(metadata.annotations?.["cert-manager.io/inject-ca-from"]).toBeUndefined();
    const secret = tlsSecret(manifests);
    expect(secret).toBe("r-cache-registry-webhook-tls");
    expect(manifests.config("controllers").certificates).toMatchObject({
      mode: "selfManaged",
      caSecret: "r-cache-registry-ca",
      serving: [{ secret, webhooks: [metadata.name], dnsNames: expect.arrayContaining([`${metadata.name}.n.svc`]) }],
    });
  });

  it("is also a choice where cert-manager is", async () => {
    const manifests = await render({ values: { certificates: { mode: "selfManaged" } } });
    expect(manifests.ofKind("Certificate")).toEqual([]);
    expect(manifests.config("controllers").certificates).toMatchObject({ mode: "selfManaged" });
  });

  it("the controllers are told the mode that the chart has chosen", async () => {
    const mode = async (options: Parameters<typeof render>[0]) =>
      (await render(options)).config("controllers").certificates;
    expect(await mode({})).toEqual({ mode: "certManager" });
    const certificates = { existingSecret: "own-tls", caBundle: PEM };
    expect(await mode({ ...without, values: { certificates } })).toEqual({ mode: "existingSecret" });
  });

  it("refuses what belongs to another mode, and what cannot work", async () => {
    const refused = (values: Record<string, unknown>) => refusal({ ...without, values });
    const issuer = { webhook: { certificateIssuerRef: { name: "corporate" } } };
    expect(await refused({ controllers: issuer })).toContain("set certificates.mode to certManager");
    expect(await refused({ controllers: { replicas: 0 } })).toContain("controllers.replicas is 0");
    expect(await refused({ certificates: { mode: "selfManaged", existingSecret: "x" } })).toContain("existingSecret");
    expect(await refused({ certificates: { caBundle: PEM } })).toContain("certificates.caBundle belongs to");
    expect(await refused({ certificates: { renewBefore: "90d" } })).toContain("certificates.renewBefore is 90d");
    expect(await refused({ certificates: { caDuration: "100d" } })).toContain("certificates.caDuration is 100d");
  });
});

describe("the registry's certificate", () => {
  const values = { registry: { management: { tls: true } } };
  const name = "r-cache-registry-registry";
  const at = { release: "r", namespace: "n" } as const;

  it("is for its management port where that is asked for; controllers and probes use HTTPS then", async () => {
    const manifests = await render({ ...at, values, apiVersions: [] });
    const config = manifests.config("registry");
    const tls = { certFile: "/etc/cache-registry/tls/tls.crt", keyFile: "/etc/cache-registry/tls/tls.key" };
    expect(config).toMatchObject({ listen: { port: 5000 }, management: { port: 8081, tls } });
    expect(config.listen).not.toHaveProperty("tls");
    const { startupProbe, livenessProbe, readinessProbe } = manifests.container("registry");
    for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe])
      expect(httpGet).toMatchObject({ scheme: "HTTPS" });
    const controllers = manifests.config("controllers");
    expect(controllers.registry).toMatchObject({
      url: `https://${name}:8081`,
      caSecret: { name: `${name}-tls`, key: "ca.crt" },
    });
    expect(manifests.pod("controllers").volumes.map((volume) => volume.name)).not.toContain("registry-tls");
    expect(controllers.certificates).toMatchObject({
      serving: [{ secret: "r-cache-registry-webhook-tls" }, { secret: `${name}-tls`, webhooks: [] }],
    });
    expect(manifests.pod("registry").volumes.find(({ name }) => name === "tls")?.secret?.secretName).toBe(
      `${name}-tls`,
    );
  });

  it("made by cert-manager, is checked with a file that the controllers wait for, and they get no key", async () => {
    const manifests = await render({ ...at, values });
    expect(manifests.config("controllers").registry).toMatchObject({
      caFile: "/etc/cache-registry/registry-tls/ca.crt",
    });
    const volume = manifests.pod("controllers").volumes.find((one) => one.name === "registry-tls");
    expect(volume?.secret).toEqual({
      secretName: `${name}-tls`,
      defaultMode: 0o440,
      items: [{ key: "ca.crt", path: "ca.crt" }],
    });
  });

  it("is what Prometheus checks at that port, and only there", async () => {
    const monitoring = { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } };
    const manifests = await render({ ...at, values: { ...values, monitoring } });
    const tlsConfig = { serverName: `${name}.n.svc`, ca: { secret: { name: `${name}-tls`, key: "ca.crt" } } };
    const component = "__meta_kubernetes_service_label_app_kubernetes_io_component";
    const https = { sourceLabels: [component], regex: "registry", targetLabel: "__scheme__", replacement: "https" };
    expect(manifests.only<Monitor>("ServiceMonitor").spec.endpoints).toMatchObject([
      { tlsConfig, relabelings: [https] },
    ]);
    const endpoints = manifests.ofKind<Monitor>("PodMonitor").flatMap(({ spec }) => spec.podMetricsEndpoints ?? []);
    expect(endpoints.filter(({ scheme }) => scheme !== undefined)).toMatchObject([{ scheme: "https", tlsConfig }]);
    const plain = await render({ ...at, values: { monitoring } });
    expect(JSON.stringify(plain.only<Monitor>("ServiceMonitor").spec)).not.toMatch(/https|tlsConfig/);
    expect(JSON.stringify(plain.ofKind<Monitor>("PodMonitor"))).not.toMatch(/https|tlsConfig/);
  });

  it("is not there without HTTPS", async () => {
    const manifests = await render(at);
    expect(manifests.ofKind<Certificate>("Certificate").map(({ metadata }) => metadata.name)).not.toContain(name);
    expect(manifests.pod("controllers").volumes.map(({ name }) => name)).not.toContain("registry-tls");
    expect(manifests.container("registry").livenessProbe.httpGet).not.toHaveProperty("scheme");
    expect(manifests.config("controllers").registry).toMatchObject({ url: `http://${name}:8081` });
  });

  it("comes from the webhook's issuer, or from one of its own, or is the user's", async () => {
    const issuerOf = async (tls: Record<string, unknown>, rest: Record<string, unknown> = {}) => {
      const manifests = await render({ ...at, values: { registry: { tls: { enabled: true, ...tls } }, ...rest } });
      const found = manifests.ofKind<Certificate>("Certificate").find(({ metadata }) => metadata.name === name);
      return { issuer: found?.spec.issuerRef, issuers: manifests.ofKind("Issuer").length };
    };
    expect(await issuerOf({})).toMatchObject({ issuer: { name: "r-cache-registry-webhook" }, issuers: 2 });
    expect(await issuerOf({ issuerRef: { name: "own" } })).toMatchObject({ issuer: { name: "own" }, issuers: 2 });
    expect(await issuerOf({ existingSecret: "x" })).toEqual({ issuer: undefined, issuers: 2 });
    const certificates = { existingSecret: "own-tls", caBundle: PEM };
    expect(await issuerOf({ issuerRef: { name: "own" } }, { certificates })).toMatchObject({ issuers: 0 });
    expect(await issuerOf({}, { certificates })).toMatchObject({
      issuer: { name: "r-cache-registry-webhook" },
      issuers: 2,
    });
  });

  it("is made by the controllers although the webhook's is the user's, where there is no cert-manager", async () => {
    const certificates = { existingSecret: "own-tls", caBundle: PEM };
    const manifests = await render({ ...at, values: { ...values, certificates }, apiVersions: [] });
    expect(manifests.config("controllers").certificates).toMatchObject({
      mode: "selfManaged",
      serving: [{ secret: `${name}-tls` }],
    });
    expect(configuration(manifests).webhook.clientConfig.caBundle).toBeDefined();
  });
});

function tlsSecret(manifests: Manifests): string | undefined {
  const mount = manifests
    .container("webhook")
    .volumeMounts.find(({ mountPath }) => mountPath === "/etc/cache-registry/tls");
  expect(mount).toMatchObject({ readOnly: true });
  // a file mounted by subPath would never change, and certificates are renewed
  expect(mount?.subPath).toBeUndefined();
  return manifests.pod("webhook").volumes.find(({ name }) => name === mount?.name)?.secret?.secretName;
}
