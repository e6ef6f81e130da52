/** `registry.httpRoute` with `registry.tls`: how the Gateway speaks to the registry behind it. */
import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import type { Manifest, Manifests, Service } from "./manifests.ts";

interface Policy extends Manifest {
  readonly spec: Record<string, unknown>;
}

const NAME = "cache-registry-registry";
const CONFIG_MAP = { group: "", kind: "ConfigMap", name: "images-ca" };
const ROUTE = { enabled: true, parentRefs: [{ name: "public" }], hostnames: ["images.example.com"] };

async function exposed(registry: object): Promise<Manifests> {
  return render({ namespace: "n", values: { registry } });
}

describe("an HTTPRoute to a registry with TLS has the gateway speak HTTPS to it", () => {
  it.each([
    [
      "with the authority in its Secret",
      {},
      {},
      { caCertificateRefs: [{ group: "", kind: "Secret", name: `${NAME}-tls` }] },
    ],
    [
      "with the one in an existing Secret",
      { existingSecret: "wildcard" },
      {},
      { caCertificateRefs: [{ group: "", kind: "Secret", name: "wildcard" }] },
    ],
    ["with one that everybody trusts", { caKey: "" }, {}, { wellKnownCACertificates: "System" }],
    [
      "with one that the values name",
      { existingSecret: "wildcard", caKey: "chain.pem" },
      { caCertificateRefs: [CONFIG_MAP] },
      { caCertificateRefs: [CONFIG_MAP] },
    ],
  ])("%s", async (_, tls, more, authority) => {
    const manifests = await exposed({ tls: { enabled: true, ...tls }, httpRoute: { ...ROUTE, ...more } });
    const policy = manifests.only<Policy>("BackendTLSPolicy");
    expect(policy.apiVersion).toBe("gateway.networking.k8s.io/v1");
    expect(policy.metadata).toMatchObject({ name: NAME, namespace: "n" });
    expect(policy.spec).toEqual({
      targetRefs: [{ group: "", kind: "Service", name: NAME, sectionName: "http" }],
      // the name that the certificate is made for
      validation: { hostname: `${NAME}.n.svc`, ...authority },
    });
    const service = manifests.only<Service>("Service", "registry");
    expect(service.spec.ports.find(({ name }) => name === "http")?.port).toBe(5000);
    expect(manifests.ofKind("HTTPRoute")).toHaveLength(1);
  });

  it("and none where either is off", async () => {
    expect((await exposed({ httpRoute: ROUTE })).ofKind("BackendTLSPolicy")).toEqual([]);
    expect((await exposed({ tls: { enabled: true } })).ofKind("BackendTLSPolicy")).toEqual([]);
  });
});
