import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import type { Component, Manifest, Manifests } from "./manifests.ts";

interface Peer {
  readonly podSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
}
interface NetworkPolicy extends Manifest {
  readonly spec: {
    readonly podSelector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly policyTypes: readonly string[];
    readonly ingress: readonly {
      readonly ports: readonly { readonly port: number }[];
      readonly from?: readonly Peer[];
    }[];
    readonly egress?: readonly unknown[];
  };
}

const PROMETHEUS = { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "monitoring" } } };
const POSTGRES = {
  replicas: 2,
  storage: {
    blobs: { driver: "s3", s3: { bucket: "b" } },
    metadata: { driver: "postgres", postgres: { existingSecret: "db" } },
  },
  replicaToken: { existingSecret: "t" },
};

function policies(values: object = {}): Promise<Manifests> {
  const networkPolicy = { enabled: true, ...(values as { networkPolicy?: object }).networkPolicy };
  return render({ values: { ...values, networkPolicy } });
}

/** Port → who may come in: everybody, or peers with pods named by their component. */
function reachable(manifests: Manifests, component: Component) {
  const { spec } = manifests.only<NetworkPolicy>("NetworkPolicy", component);
  const name = ({ podSelector, ...peer }: Peer) =>
    podSelector ? podSelector.matchLabels["app.kubernetes.io/component"] : peer;
  return Object.fromEntries(
    spec.ingress.flatMap(({ ports, from }) => ports.map(({ port }) => [port, from ? from.map(name) : "everybody"])),
  );
}

describe("network policies", () => {
  it("are created only when asked for", async () => {
    expect((await render()).ofKind("NetworkPolicy")).toEqual([]);
  });

  it("let in what each component is there for, and its metrics for Prometheus", async () => {
    const manifests = await policies();
    // proxies on the host network and the API server come from addresses that no selector knows
    expect(reachable(manifests, "registry")).toEqual({ 5000: "everybody", 8081: ["controllers", PROMETHEUS] });
    expect(reachable(manifests, "webhook")).toEqual({ 8443: "everybody", 8082: [PROMETHEUS] });
    expect(reachable(manifests, "controllers")).toEqual({ 8083: [PROMETHEUS] });
    // a policy would not hold for the host network
    expect(manifests.ofKind("NetworkPolicy")).toHaveLength(3);
  });

  it("select the pods of their component", async () => {
    const manifests = await policies();
    for (const component of ["registry", "webhook", "controllers"] as const) {
      const { podSelector } = manifests.only<NetworkPolicy>("NetworkPolicy", component).spec;
      expect(manifests.workload(component).spec.selector.matchLabels).toEqual(podSelector.matchLabels);
    }
  });

  it("let replicas reach each other where there are many, and a proxy on the pod network serve its node", async () => {
    const manifests = await policies({ registry: POSTGRES, proxy: { hostNetwork: false } });
    expect(reachable(manifests, "registry")).toMatchObject({ 5001: ["registry"] });
    expect(reachable(manifests, "proxy")).toEqual({ 7439: "everybody", 8084: [PROMETHEUS] });
  });

  it("limit what the webhook may reach to nothing, and the others only as values say", async () => {
    const rule = { ports: [{ port: 443 }] };
    const egressOf = (manifests: Manifests, component: Component) => {
      const { policyTypes, egress } = manifests.only<NetworkPolicy>("NetworkPolicy", component).spec;
      return [policyTypes, egress];
    };
    const byDefault = await policies();
    expect(egressOf(byDefault, "webhook")).toEqual([["Ingress", "Egress"], []]);
    expect(egressOf(byDefault, "registry")).toEqual([["Ingress"], undefined]);
    const limited = await policies({ networkPolicy: { egress: { registry: [rule], controllers: [rule] } } });
    expect(egressOf(limited, "registry")).toEqual([["Ingress", "Egress"], [rule]]);
    expect(egressOf(limited, "controllers")).toEqual([["Ingress", "Egress"], [rule]]);
  });

  it("can name who pulls and who reads metrics", async () => {
    const nodes = { ipBlock: { cidr: "10.0.0.0/16" } };
    const manifests = await policies({ networkPolicy: { registryFrom: [nodes], metricsFrom: [] } });
    expect(reachable(manifests, "registry")).toEqual({ 5000: [nodes, "test"], 8081: ["controllers"] });
    expect(reachable(manifests, "controllers")).toEqual({});
  });

  it("let our own pods pull, whoever else may", async () => {
    const registryFrom = [{ ipBlock: { cidr: "10.0.0.0/16" } }];
    const values = { networkPolicy: { registryFrom }, proxy: { hostNetwork: false, namespace: "nodes" } };
    const [, test, proxy] =
      (await policies(values)).only<NetworkPolicy>("NetworkPolicy", "registry").spec.ingress[0]?.from ?? [];
    const labels = { "app.kubernetes.io/name": "cache-registry", "app.kubernetes.io/instance": "cache-registry" };
    expect(test).toEqual({ podSelector: { matchLabels: { ...labels, "app.kubernetes.io/component": "test" } } });
    expect(proxy).toEqual({
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "nodes" } },
      podSelector: { matchLabels: { ...labels, "app.kubernetes.io/component": "proxy" } },
    });
  });

  it("leave the management API open where it is offered outside the cluster", async () => {
    const registry = { service: { type: "NodePort", exposeManagement: true }, management: { tls: true } };
    expect(reachable(await policies({ registry }), "registry")).toMatchObject({ 8081: "everybody" });
  });
});
