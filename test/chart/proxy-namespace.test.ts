import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import { componentOf, type Manifest, type Role } from "./manifests.ts";

const VALUES = {
  proxy: { namespace: "nodes" },
  uninstall: { evictPods: true },
  monitoring: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } },
};

interface Hook extends Manifest {
  readonly webhooks: readonly [
    { readonly namespaceSelector: { readonly matchExpressions: readonly { values: string[] }[] } },
  ];
}
interface Monitor extends Manifest {
  readonly spec: { readonly namespaceSelector: { readonly matchNames: readonly string[] } };
}

const OURS = "cache-registry-system";
const CLUSTER_SCOPED = /^Cluster|^MutatingWebhook|^CustomResource/;
const manifests = await render({ values: VALUES });

describe("proxy.namespace", () => {
  it("is where the proxy's objects are, and no others but the rights on them", () => {
    const others = manifests.all.filter(
      ({ kind, metadata }) => !CLUSTER_SCOPED.test(kind) && metadata.namespace !== OURS,
    );
    expect(others.map((one) => `${one.metadata.namespace} ${one.kind} of ${componentOf(one)}`).toSorted()).toEqual([
      "nodes ConfigMap of proxy",
      "nodes DaemonSet of proxy",
      "nodes Role of controllers",
      "nodes Role of uninstall",
      "nodes Role of uninstall",
      "nodes RoleBinding of controllers",
      "nodes RoleBinding of uninstall",
      "nodes RoleBinding of uninstall",
      "nodes Service of proxy",
      "nodes ServiceAccount of proxy",
    ]);
  });

  it("is left out by the webhook, besides the release's", () => {
    const [{ namespaceSelector }] = manifests.only<Hook>("MutatingWebhookConfiguration").webhooks;
    expect(namespaceSelector.matchExpressions[0]?.values.slice(0, 3)).toEqual([OURS, "nodes", "kube-system"]);
  });

  it("is told to the controllers, who may look at the DaemonSet there and nowhere else", () => {
    expect(manifests.config("controllers").proxy).toEqual({ daemonSet: "cache-registry-proxy", namespace: "nodes" });
    const reading = manifests
      .ofKind<Role>("Role")
      .filter((one) => componentOf(one) === "controllers")
      .flatMap(({ metadata, rules }) => rules.map((rule) => ({ namespace: metadata.namespace, ...rule })))
      .filter(({ resources }) => resources.includes("daemonsets"));
    const resourceNames = ["cache-registry-proxy"];
    expect(reading).toEqual([
      { namespace: "nodes", apiGroups: ["apps"], resources: ["daemonsets"], resourceNames, verbs: ["get"] },
    ]);
  });

  it("has no variable with the registry's address, so the proxy goes by its name", () => {
    expect(manifests.pod("proxy").enableServiceLinks).toBe(false);
    expect(manifests.container("proxy").env?.map(({ name }) => name)).not.toContain("CREG_REGISTRY__URL");
    const url = `http://cache-registry-registry.${OURS}.svc:5000`;
    expect(manifests.config("proxy").registry).toMatchObject({ url });
  });

  it("is watched by Prometheus, and cleared by whoever uninstalls", () => {
    expect(manifests.only<Monitor>("ServiceMonitor").spec.namespaceSelector.matchNames).toEqual([OURS, "nodes"]);
    const watched = manifests.ofKind<Monitor>("PodMonitor").flatMap(({ spec }) => spec.namespaceSelector.matchNames);
    expect(watched.toSorted()).toEqual([OURS, OURS, OURS, "nodes"]);
    for (const job of manifests.ofKind<Manifest & { spec: { template: unknown } }>("Job")) {
      expect(JSON.stringify(job.spec.template)).toContain('"--proxy-namespace","nodes"');
    }
  });
});
