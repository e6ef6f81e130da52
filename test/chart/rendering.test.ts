import { describe, expect, it } from "vitest";
import { CHART, helm, render, renderText } from "./helm.ts";
import { COMPONENTS, componentOf, type Manifest, type Service } from "./manifests.ts";
import { HIGHLY_AVAILABLE } from "./value-sets.ts";

const CLUSTER_SCOPED = ["ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration"];
const CRD = "CustomResourceDefinition";

function ours(all: readonly Manifest[]): readonly Manifest[] {
  return all.filter(({ kind }) => kind !== CRD);
}

describe("the chart", () => {
  it("passes helm lint without a warning", async () => {
    const { status, output } = await helm(["lint", CHART, "--strict"]);
    expect(output).toContain("0 chart(s) failed");
    expect(output).not.toMatch(/\[(WARNING|ERROR)\]/);
    expect(status).toBe(0);
  });

  it("has a workload, a configuration and a service account for each component", async () => {
    const manifests = await render();
    for (const component of COMPONENTS) {
      const name = `cache-registry-${component}`;
      expect(manifests.workload(component).metadata.name).toBe(name);
      expect(manifests.only("ConfigMap", component).metadata.name).toBe(name);
      expect(manifests.only("ServiceAccount", component).metadata.name).toBe(name);
      expect(manifests.pod(component).serviceAccountName).toBe(name);
    }
  });

  it("renders the same text twice: nothing random, nothing looked up", async () => {
    const values = { registry: { persistence: { enabled: true } } };
    expect(await renderText({ values })).toBe(await renderText({ values }));
  });

  it("names no object twice", async () => {
    const names = (await render()).all.map(
      ({ kind, metadata }) => `${kind}/${metadata.namespace ?? ""}/${metadata.name}`,
    );
    expect(names).toEqual([...new Set(names)]);
  });

  it("creates no Secret: the controllers and cert-manager do", async () => {
    expect((await render()).ofKind("Secret")).toEqual([]);
  });

  it("labels everything, and selects its own pods only", async () => {
    const manifests = await render({ release: "one" });
    for (const one of ours(manifests.all)) {
      expect(one.metadata.labels).toMatchObject({
        "app.kubernetes.io/name": "cache-registry",
        "app.kubernetes.io/instance": "one",
        "app.kubernetes.io/version": "0.1.0",
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "cache-registry-0.1.0",
      });
      expect([...COMPONENTS, "test"]).toContain(componentOf(one));
    }
    for (const { spec, ...workload } of manifests.workloads()) {
      expect(spec.selector.matchLabels).toEqual({
        "app.kubernetes.io/name": "cache-registry",
        "app.kubernetes.io/instance": "one",
        "app.kubernetes.io/component": componentOf(workload),
      });
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
    }
    for (const { spec, ...service } of manifests.ofKind<Service>("Service")) {
      expect(spec.selector["app.kubernetes.io/component"]).toBe(componentOf(service));
      expect(spec.selector["app.kubernetes.io/instance"]).toBe("one");
    }
  });

  it("adds commonLabels everywhere without letting them break a selector", async () => {
    const commonLabels = { team: "platform", "app.kubernetes.io/name": "other" };
    const manifests = await render({ values: { commonLabels } });
    for (const { metadata } of manifests.all) {
      expect(metadata.labels).toMatchObject({ team: "platform", "app.kubernetes.io/name": "cache-registry" });
    }
    for (const { spec } of manifests.workloads()) expect(spec.template.metadata.labels.team).toBe("platform");
  });
});

describe("names", () => {
  it("follow the release and stay in its namespace", async () => {
    const manifests = await render({ release: "images", namespace: "infra" });
    for (const { kind, metadata } of ours(manifests.all)) {
      expect(metadata.name).toMatch(/^images-cache-registry-/);
      expect(metadata.namespace).toBe(CLUSTER_SCOPED.includes(kind) ? undefined : "infra");
    }
    const text = await renderText({ release: "images", namespace: "infra" });
    expect(text).not.toContain("cache-registry-system");
    // the usual name without the release before it
    expect(text).not.toMatch(/(?<!images-)cache-registry-(registry|webhook|controllers|proxy)/);
  });

  it("can be set", async () => {
    expect((await render({ values: { fullnameOverride: "mirror" } })).workload("proxy").metadata.name).toBe(
      "mirror-proxy",
    );
    const named = await render({ release: "a", values: { nameOverride: "cache" } });
    expect(named.workload("proxy").metadata.name).toBe("a-cache-proxy");
  });

  it.each([
    "a-release-with-the-longest-name-that-helm-will-accept",
    "3.images",
    "x",
  ])("are valid for release %s", async (release) => {
    const values = {
      registry: { ...HIGHLY_AVAILABLE.registry, service: { type: "LoadBalancer" } },
      privateImages: { mode: "share", namespaces: ["shop"] },
      uninstall: { evictPods: true },
      monitoring: { serviceMonitor: { enabled: true } },
    };
    const manifests = await render({ release, namespace: "n", values });
    expect(manifests.all.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["Job", "Service"]));
    for (const { kind, metadata } of ours(manifests.all)) {
      expect(metadata.name).toMatch(/^[a-z]([a-z0-9-]*[a-z0-9])?$/);
      // A Service is a DNS label; pods have the name of their Job as a label, and names cut at 58 characters.
      const longest = { Service: 63, Job: 63, Deployment: 57, DaemonSet: 57 }[kind] ?? 253;
      expect(metadata.name.length, `${kind} ${metadata.name}`).toBeLessThanOrEqual(longest);
    }
  });
});
