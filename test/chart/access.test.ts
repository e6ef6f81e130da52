import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import type { Binding, Manifest, Role, Rule } from "./manifests.ts";

const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch", "delete", "deletecollection", "*"];

function about(rules: readonly Rule[], resource: string): readonly Rule[] {
  return rules.filter(({ resources }) => resources.includes(resource));
}

describe("access to the API server", () => {
  it("is given to the controllers alone", async () => {
    const manifests = await render({ release: "r", namespace: "n" });
    const bindings = [...manifests.ofKind<Binding>("ClusterRoleBinding"), ...manifests.ofKind<Binding>("RoleBinding")];
    const name = "r-cache-registry-controllers";
    expect(bindings.map(({ kind, roleRef }) => [kind, roleRef.kind, roleRef.name])).toEqual([
      ["ClusterRoleBinding", "ClusterRole", name],
      ["RoleBinding", "Role", name],
    ]);
    for (const { subjects } of bindings) expect(subjects).toEqual([{ kind: "ServiceAccount", name, namespace: "n" }]);
    const accounts = manifests.ofKind<Manifest & { automountServiceAccountToken: boolean }>("ServiceAccount");
    expect(accounts).toHaveLength(4);
    for (const account of accounts) expect(account.automountServiceAccountToken).toBe(false);
  });

  it("reads workloads cluster-wide and writes nothing but CachedImages and Events", async () => {
    const { rules } = (await render()).only<Role>("ClusterRole");
    const writable = rules
      .filter(({ verbs }) => verbs.some((verb) => WRITE.includes(verb)))
      .flatMap(({ resources }) => resources);
    expect(writable).toEqual(["cachedimages", "cachedimages/status", "events"]);
    expect(about(rules, "cachedimages")).toEqual([
      {
        apiGroups: ["cache-registry.enix.io"],
        resources: ["cachedimages"],
        verbs: [...READ, "create", "update", "patch", "delete"],
      },
    ]);
    for (const resource of [
      "pods",
      "namespaces",
      "deployments",
      "replicasets",
      "statefulsets",
      "daemonsets",
      "jobs",
      "cronjobs",
    ]) {
      expect(about(rules, resource).map(({ verbs }) => [resource, verbs])).toEqual([[resource, READ]]);
    }
    expect(about(rules, "events").flatMap(({ verbs }) => verbs)).toEqual(["create", "patch"]);
  });

  it("never reads Secrets cluster-wide, and only the management token's in its own namespace", async () => {
    const manifests = await render({ release: "r" });
    const cluster = manifests.only<Role>("ClusterRole").rules;
    const own = manifests.only<Role>("Role").rules;
    expect([...about(cluster, "secrets"), ...about(cluster, "*")]).toEqual([]);
    expect(about(own, "secrets")).toEqual([
      { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
      { apiGroups: [""], resources: ["secrets"], resourceNames: ["r-cache-registry-management-token"], verbs: ["get"] },
    ]);
  });

  it("allows its own lease and looking at the own Deployment, the owner of that Secret", async () => {
    const { rules } = (await render({ release: "r" })).only<Role>("Role");
    const leases = { apiGroups: ["coordination.k8s.io"], resources: ["leases"] };
    expect(about(rules, "leases")).toEqual([
      { ...leases, verbs: ["create"] },
      { ...leases, resourceNames: ["r-cache-registry-controllers"], verbs: ["get", "update", "patch"] },
    ]);
    expect(about(rules, "deployments")).toEqual([
      {
        apiGroups: ["apps"],
        resources: ["deployments"],
        resourceNames: ["r-cache-registry-controllers"],
        verbs: ["get"],
      },
    ]);
  });

  it("uses no wildcard", async () => {
    const manifests = await render();
    for (const { rules } of [...manifests.ofKind<Role>("ClusterRole"), ...manifests.ofKind<Role>("Role")]) {
      expect(rules.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs])).not.toContain(
        "*",
      );
    }
  });
});
