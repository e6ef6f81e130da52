import type { KubeClient } from "../../packages/kube/src/client.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import type { Resource } from "../../packages/kube/src/resource.ts";

const GROUP = "rbac.authorization.k8s.io";

type Rule = { apiGroups: string[]; resources: string[]; verbs: string[]; resourceNames?: string[] };

/** What the controllers need everywhere, and not a verb more: the tests fail when one is missing, here or in the chart. */
export const CLUSTER_RULES: readonly Rule[] = [
  {
    apiGroups: ["cache-registry.enix.io"],
    resources: ["cachedimages"],
    verbs: ["get", "list", "watch", "create", "patch", "delete"],
  },
  { apiGroups: ["cache-registry.enix.io"], resources: ["cachedimages/status"], verbs: ["patch"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch", "patch"] },
  { apiGroups: [""], resources: ["nodes"], verbs: ["list", "watch"] },
  { apiGroups: [""], resources: ["namespaces"], resourceNames: ["kube-system"], verbs: ["get"] },
  { apiGroups: ["apps"], resources: ["replicasets", "statefulsets", "daemonsets"], verbs: ["list", "watch"] },
  { apiGroups: ["batch"], resources: ["cronjobs", "jobs"], verbs: ["list", "watch"] },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create"] },
];

type OwnNames = {
  readonly lease: string;
  readonly secret: string;
  readonly deployment: string;
  readonly configMap: string;
  readonly daemonSet: string;
};

/** In their own namespace. Creating cannot be limited to a name. */
export function ownRules(names: OwnNames): readonly Rule[] {
  return [
    { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
    {
      apiGroups: ["coordination.k8s.io"],
      resources: ["leases"],
      resourceNames: [names.lease],
      verbs: ["get", "update"],
    },
    { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
    { apiGroups: [""], resources: ["secrets"], resourceNames: [names.secret], verbs: ["get"] },
    {
      apiGroups: [""],
      resources: ["configmaps"],
      resourceNames: [names.configMap],
      verbs: ["get", "create", "patch"],
    },
    { apiGroups: ["apps"], resources: ["daemonsets"], resourceNames: [names.daemonSet], verbs: ["get"] },
    { apiGroups: ["apps"], resources: ["deployments"], resourceNames: [names.deployment], verbs: ["get"] },
  ];
}

/** For certificates of their own making: these Secrets, besides creating them, */
export function certificateRules(secrets: readonly string[]): readonly Rule[] {
  const resourceNames = [...secrets];
  return [{ apiGroups: [""], resources: ["secrets"], resourceNames, verbs: ["get", "list", "watch", "update"] }];
}

/** and the caBundle of these configurations. */
export function caBundleRules(configurations: readonly string[]): readonly Rule[] {
  const resources = ["mutatingwebhookconfigurations"];
  const resourceNames = [...configurations];
  return [
    {
      apiGroups: ["admissionregistration.k8s.io"],
      resources,
      resourceNames,
      verbs: ["get", "list", "watch", "patch"],
    },
  ];
}

export type Access = OwnNames & {
  readonly namespace: string;
  readonly certificates?: { readonly secrets: readonly string[]; readonly configurations: readonly string[] };
};

function rbac(plural: string, kind: string, namespaced: boolean): Resource<KubeObject> {
  return { group: GROUP, version: "v1", plural, kind, namespaced };
}

/** Gives the user `controllers` exactly those rights. */
export async function grantAccess(client: KubeClient, names: Access): Promise<void> {
  const { secrets = [], configurations = [] } = names.certificates ?? {};
  const everywhereRules = [...CLUSTER_RULES, ...(configurations.length > 0 ? caBundleRules(configurations) : [])];
  const rules = [...ownRules(names), ...(secrets.length > 0 ? certificateRules(secrets) : [])];
  const apiVersion = `${GROUP}/v1`;
  const subjects = [{ apiGroup: GROUP, kind: "User", name: "controllers" }];
  const everywhere = { name: "controllers" };
  const own = { name: "controllers", namespace: names.namespace };
  const roleRef = (kind: string) => ({ apiGroup: GROUP, kind, name: "controllers" });
  const objects: [Resource<KubeObject>, KubeObject & Record<string, unknown>][] = [
    [
      rbac("clusterroles", "ClusterRole", false),
      { apiVersion, kind: "ClusterRole", metadata: everywhere, rules: everywhereRules },
    ],
    [
      rbac("clusterrolebindings", "ClusterRoleBinding", false),
      { apiVersion, kind: "ClusterRoleBinding", metadata: everywhere, subjects, roleRef: roleRef("ClusterRole") },
    ],
    [rbac("roles", "Role", true), { apiVersion, kind: "Role", metadata: own, rules }],
    [
      rbac("rolebindings", "RoleBinding", true),
      { apiVersion, kind: "RoleBinding", metadata: own, subjects, roleRef: roleRef("Role") },
    ],
  ];
  for (const [resource, object] of objects) await client.create(resource, object);
}

/** What the chart gives for each namespace of privateImages: reading Secrets by name, and no list of them. */
export const SHARED_NAMESPACE_RULES: readonly Rule[] = [{ apiGroups: [""], resources: ["secrets"], verbs: ["get"] }];

export async function grantSecrets(client: KubeClient, namespace: string): Promise<void> {
  const apiVersion = `${GROUP}/v1`;
  const metadata = { name: "controllers-pull-secrets", namespace };
  const role = { apiVersion, kind: "Role", metadata, rules: SHARED_NAMESPACE_RULES };
  const subjects = [{ apiGroup: GROUP, kind: "User", name: "controllers" }];
  const roleRef = { apiGroup: GROUP, kind: "Role", name: metadata.name };
  await client.create(rbac("roles", "Role", true), role as KubeObject);
  const binding = { apiVersion, kind: "RoleBinding", metadata, subjects, roleRef };
  await client.create(rbac("rolebindings", "RoleBinding", true), binding as KubeObject);
}
