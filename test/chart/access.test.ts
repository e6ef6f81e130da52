import { describe, expect, it } from "vitest";
import { CLUSTER_RULES, caBundleRules, certificateRules, ownRules } from "../support/controllers-access.ts";
import { render } from "./helm.ts";
import type { Binding, Manifest, Role, Rule } from "./manifests.ts";

const WRITE = ["create", "update", "patch", "delete", "deletecollection", "*"];

const EXTERNAL = {
  enabled: false,
  externalUrl: "https://images.example.com",
  external: { managementUrl: "https://images.example.com:8081", tokenSecret: { name: "token" } },
};

/** Of the release "r". */
const OWN_NAMES = {
  lease: "r-cache-registry-controllers",
  secret: "r-cache-registry-management-token",
  deployment: "r-cache-registry-controllers",
  configMap: "r-cache-registry-cluster-state",
  daemonSet: "r-cache-registry-proxy",
};

/** One line per right, so that rules may be grouped as is best to read. */
function grantsOf(rules: readonly Rule[]): string[] {
  const grants = rules.flatMap(({ apiGroups, resources, verbs, resourceNames = ["*"] }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        resourceNames.flatMap((name) => verbs.map((verb) => `${verb} ${group}/${resource}/${name}`)),
      ),
    ),
  );
  return grants.toSorted((a, b) => a.localeCompare(b));
}

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

  async function writable(values: Record<string, unknown> = {}): Promise<string[]> {
    const { rules } = (await render({ values })).only<Role>("ClusterRole");
    return rules
      .filter(({ verbs }) => verbs.some((verb) => WRITE.includes(verb)))
      .flatMap(({ resources }) => resources);
  }

  it("writes nothing cluster-wide but CachedImages, Events, and the images of pods that it rewrote", async () => {
    expect(await writable()).toEqual(["cachedimages", "cachedimages/status", "pods", "events"]);
    expect(await writable({ mode: "mirror" })).toEqual(["cachedimages", "cachedimages/status", "events"]);
    expect(about((await render()).only<Role>("ClusterRole").rules, "pods").flatMap(({ verbs }) => verbs)).toEqual([
      "list",
      "watch",
      "patch",
    ]);
  });

  it("changes nodes only where nodeTaint is enabled", async () => {
    const verbs = async (values: Record<string, unknown>) =>
      about((await render({ values })).only<Role>("ClusterRole").rules, "nodes").flatMap((rule) => rule.verbs);
    expect(await verbs({})).toEqual(["list", "watch"]);
    expect(await verbs({ proxy: { nodeTaint: { enabled: true } } })).toEqual(["list", "watch", "get", "patch"]);
    expect(await verbs({ mode: "mirror", proxy: { enabled: false, nodeTaint: { enabled: true } } })).toEqual([
      "list",
      "watch",
    ]);
  });

  it("gives the controllers exactly the rights that the integration tests run them with", async () => {
    const manifests = await render({ release: "r" });
    const own = ownRules(OWN_NAMES);
    expect(grantsOf(manifests.only<Role>("ClusterRole").rules)).toEqual(grantsOf(CLUSTER_RULES));
    expect(grantsOf(manifests.only<Role>("Role").rules)).toEqual(grantsOf(own));
  });

  it("gives them only what the certificates of their own making need besides, where they make some", async () => {
    const values = { certificates: { mode: "selfManaged" }, registry: { management: { tls: true } } };
    const manifests = await render({ release: "r", values });
    const own = ownRules(OWN_NAMES);
    const secrets = ["ca", "webhook-tls", "registry-tls"].map((part) => `r-cache-registry-${part}`);
    const cluster = [...CLUSTER_RULES, ...caBundleRules(["r-cache-registry-webhook"])];
    expect(grantsOf(manifests.only<Role>("ClusterRole").rules)).toEqual(grantsOf(cluster));
    expect(grantsOf(manifests.only<Role>("Role").rules)).toEqual(grantsOf([...own, ...certificateRules(secrets)]));
    const without = await render({ values: { ...values, registry: EXTERNAL } });
    expect(about(without.only<Role>("Role").rules, "secrets").flatMap(({ verbs }) => verbs)).toContain("create");
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
      { ...leases, resourceNames: ["r-cache-registry-controllers"], verbs: ["get", "update"] },
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
