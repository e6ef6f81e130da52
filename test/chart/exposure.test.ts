import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import { COMPONENTS, type Component, type Manifest, type Manifests, type PodSpec, type Service } from "./manifests.ts";
import { EXTERNAL_REGISTRY, HIGHLY_AVAILABLE } from "./value-sets.ts";

interface Spec extends Manifest {
  readonly spec: Record<string, unknown>;
}

const UPSTREAMS = [
  { registry: "docker.io", hosts: ["docker.example.com:8443", "hub.example.com"] },
  { registry: "quay.io" },
];
const HOSTS = ["images.example.com", "docker.example.com", "hub.example.com"];
const NAME = "cache-registry-registry";

async function exposed(registry: object, upstreams: readonly object[] = []): Promise<Manifests> {
  return render({ namespace: "n", values: { registry, upstreams } });
}

/** The one inside the cluster first. */
function services(manifests: Manifests): readonly Service[] {
  const found = manifests.ofKind<Service>("Service").filter(({ metadata }) => metadata.name.startsWith(NAME));
  return found.toSorted((one, other) => one.metadata.name.localeCompare(other.metadata.name));
}

describe("the registry's Services", () => {
  it.each([
    "NodePort",
    "LoadBalancer",
  ])("%s adds one without the management port; the one inside stays", async (type) => {
    const [inside, outside, ...others] = services(await exposed({ service: { type, annotations: { a: "b" } } }));
    expect(others).toEqual([]);
    expect(inside).toEqual(services(await exposed({}))[0]);
    expect(outside?.metadata).toMatchObject({ name: `${NAME}-external`, annotations: { a: "b" } });
    const nodePort = type === "NodePort" ? { nodePort: 31080 } : {};
    expect(outside?.spec).toEqual({
      type,
      externalTrafficPolicy: "Cluster",
      selector: inside?.spec.selector,
      ports: [{ name: "http", port: 5000, targetPort: 5000, protocol: "TCP", ...nodePort }],
    });
  });

  it("take ports, class, networks, policies and families from the values", async () => {
    const service = {
      type: "LoadBalancer",
      loadBalancerClass: "internal",
      loadBalancerSourceRanges: ["10.0.0.0/8"],
      externalTrafficPolicy: "Local",
      ipFamilyPolicy: "PreferDualStack",
      ipFamilies: ["IPv6", "IPv4"],
      exposeManagement: true,
    };
    const management = { tls: true };
    const [inside, outside] = services(await exposed({ service, management }));
    const { exposeManagement: _, ...spec } = service;
    expect(outside?.spec).toMatchObject(spec);
    expect(outside?.spec.ports.map(({ port }) => port)).toEqual([5000, 8081]);
    expect(inside?.spec).toMatchObject({ ipFamilyPolicy: "PreferDualStack", ipFamilies: ["IPv6", "IPv4"] });
    const ports = { type: "NodePort", nodePort: 30001, exposeManagement: true, managementNodePort: 30002 };
    expect(services(await exposed({ service: ports, management }))[1]?.spec.ports).toMatchObject([
      { nodePort: 30001 },
      { nodePort: 30002 },
    ]);
  });

  it("with IPv6: every component listens on it, or probes and Services would find nobody", async () => {
    for (const ipFamilies of [["IPv6"], ["IPv4", "IPv6"]]) {
      const values = { ...HIGHLY_AVAILABLE, proxy: { hostNetwork: false } };
      const registry = { ...HIGHLY_AVAILABLE.registry, service: { ipFamilies } };
      const manifests = await render({ values: { ...values, registry } });
      const config = (component: Component) => JSON.stringify(manifests.config(component));
      for (const component of COMPONENTS) expect(config(component)).not.toContain("0.0.0.0");
      const listen = { host: "::", port: 5000 };
      expect(manifests.config("registry")).toMatchObject({ listen, management: { host: "::" } });
      expect(manifests.config("registry")).toMatchObject({ replica: { listen: { host: "::", port: 5001 } } });
      expect(manifests.config("proxy")).toMatchObject({ listen: { hosts: ["::"] }, management: { host: "::" } });
    }
  });

  it("with IPv6 first: addresses in URLs have brackets", async () => {
    const storage = {
      blobs: { driver: "s3", s3: { bucket: "images" } },
      metadata: { driver: "postgres", postgres: { existingSecret: "database" } },
    };
    const manifests = await exposed({ service: { ipFamilies: ["IPv6"] }, storage });
    const value = (component: "proxy" | "registry", variable: string) =>
      manifests.container(component).env?.find(({ name }) => name === variable)?.value;
    expect(value("proxy", "CREG_REGISTRY__URL")).toBe("http://[$(CACHE_REGISTRY_REGISTRY_SERVICE_HOST)]:5000");
    expect(value("registry", "CREG_REPLICA__ADDRESS")).toBe("http://[$(POD_IP)]:5001");
  });
});

describe("routes to the registry", () => {
  it("an Ingress has a rule for its own hosts and for each upstream's", async () => {
    const tls = [{ secretName: "images-tls", hosts: HOSTS }];
    const ingress = { enabled: true, className: "nginx", annotations: { a: "b" }, hosts: HOSTS.slice(0, 1), tls };
    const { metadata, spec } = (await exposed({ ingress }, UPSTREAMS)).only<Spec>("Ingress");
    expect(metadata).toMatchObject({ name: NAME, namespace: "n", annotations: { a: "b" } });
    const backend = { service: { name: NAME, port: { name: "http" } } };
    expect(spec).toEqual({
      ingressClassName: "nginx",
      tls,
      rules: HOSTS.map((host) => ({ host, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } })),
    });
  });

  it("an HTTPRoute has them as hostnames", async () => {
    const parentRefs = [{ name: "public", namespace: "gateways", sectionName: "https" }];
    const httpRoute = { enabled: true, parentRefs, hostnames: HOSTS.slice(0, 1), annotations: { a: "b" } };
    const { apiVersion, metadata, spec } = (await exposed({ httpRoute }, UPSTREAMS)).only<Spec>("HTTPRoute");
    expect(apiVersion).toBe("gateway.networking.k8s.io/v1");
    expect(metadata.annotations).toEqual({ a: "b" });
    expect(spec).toEqual({
      parentRefs,
      hostnames: HOSTS,
      rules: [{ matches: [{ path: { type: "PathPrefix", value: "/" } }], backendRefs: [{ name: NAME, port: 5000 }] }],
    });
  });

  it("Istio has a Gateway for them and a VirtualService without a time limit", async () => {
    const gateway = { selector: { istio: "public" }, credentialName: "images-tls" };
    const istio = { enabled: true, hosts: HOSTS.slice(0, 1), gateway };
    const manifests = await exposed({ istio }, UPSTREAMS);
    expect(manifests.only<Spec>("Gateway").spec).toEqual({
      selector: expect.objectContaining({ istio: "public" }),
      servers: [
        {
          port: { number: 443, name: "https", protocol: "HTTPS" },
          tls: { mode: "SIMPLE", credentialName: "images-tls" },
          hosts: HOSTS,
        },
      ],
    });
    const destination = { host: `${NAME}.n.svc.cluster.local`, port: { number: 5000 } };
    expect(manifests.only<Spec>("VirtualService").spec).toEqual({
      hosts: HOSTS,
      gateways: [NAME],
      http: [{ route: [{ destination }], timeout: "0s" }],
    });
  });

  it("Istio without a certificate is plain HTTP, and uses Gateways that are there", async () => {
    const plain = await exposed({ istio: { enabled: true, hosts: HOSTS } });
    expect(plain.only<Spec>("Gateway").spec.servers).toMatchObject([{ port: { number: 80, protocol: "HTTP" } }]);
    const there = await exposed({ istio: { enabled: true, hosts: HOSTS, gateways: ["istio-system/public"] } });
    expect(there.ofKind("Gateway")).toEqual([]);
    expect(there.only<Spec>("VirtualService").spec.gateways).toEqual(["istio-system/public"]);
  });

  it("Istio is led to the Service in a cluster with a domain of its own", async () => {
    const values = { clusterDomain: "corp.example", registry: { istio: { enabled: true, hosts: HOSTS } } };
    const text = JSON.stringify((await render({ namespace: "n", values })).only("VirtualService"));
    expect(text).toContain(`"host":"${NAME}.n.svc.corp.example"`);
  });

  it("their own hosts are names of the registry, those of upstreams are not", async () => {
    const routes = {
      ingress: { enabled: true, hosts: ["a.example.com"] },
      httpRoute: { enabled: true, hostnames: ["b.example.com"], parentRefs: [{ name: "public" }] },
      istio: { enabled: true, hosts: ["c.example.com"] },
    };
    const { externalNames } = (await exposed(routes, UPSTREAMS)).config("registry") as { externalNames: string[] };
    expect(externalNames).toEqual(expect.arrayContaining(["a.example.com", "b.example.com", "c.example.com"]));
    expect(externalNames.filter((name) => HOSTS.includes(name))).toEqual([]);
    const off = { ingress: { hosts: ["a.example.com"] } };
    expect((await exposed(off)).config("registry").externalNames).not.toContain("a.example.com");
  });

  it("are none by default", async () => {
    const manifests = await render();
    const kinds = manifests.all.map(({ kind }) => kind);
    for (const kind of ["Ingress", "HTTPRoute", "Gateway", "VirtualService"]) expect(kinds).not.toContain(kind);
    expect(services(manifests)).toHaveLength(1);
  });
});

describe("registry.tls", () => {
  it("is a certificate from cert-manager, which the proxies check by name though they dial an address", async () => {
    const manifests = await exposed({ tls: { enabled: true }, externalNames: ["images.example.com:443"] });
    const certificate = manifests.ofKind<Spec>("Certificate").find(({ metadata }) => metadata.name === NAME);
    expect(certificate?.spec).toMatchObject({
      secretName: `${NAME}-tls`,
      issuerRef: { name: "cache-registry-webhook", kind: "Issuer", group: "cert-manager.io" },
      dnsNames: expect.arrayContaining([`${NAME}.n.svc`, "images.example.com"]),
    });
    expect(manifests.config("registry").listen).toMatchObject({ tls: { certFile: "/etc/cache-registry/tls/tls.crt" } });
    expect(manifests.config("proxy").registry).toEqual({
      url: `https://${NAME}.n.svc:5000`,
      connectTimeout: "200ms",
      caFile: "/etc/cache-registry/registry-ca/ca.crt",
      serverName: `${NAME}.n.svc`,
    });
    const env = manifests.container("proxy").env?.find(({ name }) => name === "CREG_REGISTRY__URL");
    expect(env?.value).toMatch(/^https:\/\/\$\(/);
    // a node can start the kept proxy when the Secret is gone; and no node has the key
    expect(manifests.pod("proxy").volumes.find(({ name }) => name === "registry-ca")?.secret).toEqual({
      secretName: `${NAME}-tls`,
      defaultMode: 0o440,
      optional: true,
      items: [{ key: "ca.crt", path: "ca.crt" }],
    });
  });

  it("is an existing Secret, of an authority that everybody trusts", async () => {
    const tls = { enabled: true, existingSecret: "wildcard", caKey: "" };
    const manifests = await render({
      apiVersions: [],
      values: { registry: { tls }, certificates: { existingSecret: "own", caBundle: "Y2E=" } },
    });
    expect(manifests.ofKind("Certificate")).toEqual([]);
    expect(manifests.pod("registry").volumes.find(({ name }) => name === "tls")?.secret?.secretName).toBe("wildcard");
    expect(manifests.config("proxy").registry).not.toHaveProperty("caFile");
    expect(manifests.pod("proxy").volumes.find(({ name }) => name === "registry-ca")).toBeUndefined();
  });

  it.each([
    ["its own", { registry: { tls: { enabled: true, issuerRef: { name: "public", kind: "ClusterIssuer" } } } }],
    [
      "the webhook's",
      {
        registry: { tls: { enabled: true } },
        controllers: {
          webhook: { createCertificateIssuer: false, certificateIssuerRef: { name: "public", kind: "ClusterIssuer" } },
        },
      },
    ],
  ])("is issued by an issuer of the user's: %s", async (_, values) => {
    const certificates = (await render({ values })).ofKind<Spec>("Certificate");
    const { spec } = certificates.find(({ metadata }) => metadata.name === NAME) ?? {};
    expect(spec?.issuerRef).toEqual({ name: "public", kind: "ClusterIssuer", group: "cert-manager.io" });
  });

  it.each([
    [
      "its own",
      { registry: { tls: { enabled: true } } },
      { secretName: `${NAME}-tls`, items: [{ key: "ca.crt", path: "ca.crt" }] },
    ],
    ["another cluster's", EXTERNAL_REGISTRY, { secretName: "images-ca", items: [{ key: "ca.crt", path: "ca.crt" }] }],
    ["one that everybody trusts", { registry: { tls: { enabled: true, caKey: "" } } }, undefined],
  ])("helm test checks it with the authority: %s", async (_, values, secret) => {
    const pods = (await render({ values })).ofKind<Manifest & { readonly spec: PodSpec }>("Pod");
    expect(pods.map(({ spec }) => spec.volumes?.[0]?.secret)).toEqual([secret]);
  });
});
