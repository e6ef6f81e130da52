import { describe, expect, it } from "vitest";
import { refusal, render } from "./helm.ts";
import { componentOf, type Manifest, type Manifests, type Service } from "./manifests.ts";

const POLICY = "cache-registry.enix.io/image-caching-policy";
const OPT_OUT = { key: POLICY, operator: "NotIn", values: ["ignore"] };

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values: readonly string[];
}

interface Webhook {
  readonly name: string;
  readonly clientConfig: { readonly service: Record<string, unknown> };
  readonly objectSelector: { readonly matchExpressions: readonly Requirement[] };
  readonly namespaceSelector: { readonly matchExpressions: readonly Requirement[] };
  readonly [key: string]: unknown;
}

function configuration(manifests: Manifests): Manifest & { readonly webhook: Webhook } {
  const found = manifests.only<Manifest & { readonly webhooks: readonly [Webhook] }>("MutatingWebhookConfiguration");
  expect(found.webhooks).toHaveLength(1);
  return { ...found, webhook: found.webhooks[0] };
}

describe("the webhook's registration", () => {
  it("asks for new pods and for ephemeral containers, and never keeps a pod from starting", async () => {
    const { webhook } = configuration(await render());
    expect(webhook).toMatchObject({
      name: "pods.cache-registry.enix.io",
      admissionReviewVersions: ["v1"],
      failurePolicy: "Ignore",
      timeoutSeconds: 3,
      reinvocationPolicy: "IfNeeded",
      sideEffects: "None",
      matchPolicy: "Equivalent",
      rules: [
        { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"], scope: "Namespaced" },
        {
          apiGroups: [""],
          apiVersions: ["v1"],
          operations: ["UPDATE"],
          resources: ["pods/ephemeralcontainers"],
          scope: "Namespaced",
        },
      ],
    });
  });

  it("points at the webhook's Service, which points at its pods", async () => {
    const manifests = await render({ release: "r", namespace: "n" });
    expect(configuration(manifests).webhook.clientConfig.service).toEqual({
      name: "r-cache-registry-webhook",
      namespace: "n",
      path: "/mutate",
      port: 443,
    });
    const service = manifests.only<Service>("Service", "webhook");
    expect(service.metadata).toMatchObject({ name: "r-cache-registry-webhook", namespace: "n" });
    expect(service.spec.ports).toEqual([{ name: "https", port: 443, targetPort: 8443, protocol: "TCP" }]);
    expect(manifests.container("webhook").ports).toContainEqual({ name: "https", containerPort: 8443 });
  });

  it("leaves out pods by label, the user's conditions added to ours", async () => {
    const own = { key: "app", operator: "NotIn", values: ["postgres"] };
    const values = { controllers: { webhook: { objectSelector: { matchExpressions: [own] } } } };
    expect(configuration(await render()).webhook.objectSelector).toEqual({ matchExpressions: [OPT_OUT] });
    expect(configuration(await render({ values })).webhook.objectSelector).toEqual({
      matchExpressions: [OPT_OUT, own],
    });
  });

  it("leaves out namespaces: its own, what the cluster starts with, and those that opt out", async () => {
    const [names, ...others] = configuration(await render({ namespace: "mine" })).webhook.namespaceSelector
      .matchExpressions;
    expect(names).toMatchObject({ key: "kubernetes.io/metadata.name", operator: "NotIn" });
    const expected = [
      "mine",
      "kube-system",
      "kube-public",
      "kube-node-lease",
      "cert-manager",
      "calico-system",
      "longhorn-system",
    ];
    expect(names?.values).toEqual(expect.arrayContaining(expected));
    expect(others).toEqual([OPT_OUT]);
  });

  it("takes other namespaces and conditions from the values, and never its own namespace", async () => {
    const own = { key: "environment", operator: "In", values: ["production"] };
    const webhook = { excludedNamespaces: ["kube-system", "mine"], namespaceSelector: { matchExpressions: [own] } };
    const [names, ...others] = configuration(await render({ namespace: "mine", values: { webhook } })).webhook
      .namespaceSelector.matchExpressions;
    expect(names?.values).toEqual(["mine", "kube-system"]);
    expect(others).toEqual([OPT_OUT, own]);
  });

  it("goes by the state that the controllers publish, and starts without it", async () => {
    const manifests = await render({ release: "r" });
    const { volumeMounts } = manifests.container("webhook");
    const mount = volumeMounts.find(({ mountPath }) => mountPath === "/etc/cache-registry/cluster-state");
    // A file mounted by subPath would never change.
    expect(mount).toEqual({ name: "cluster-state", mountPath: "/etc/cache-registry/cluster-state", readOnly: true });
    expect(manifests.pod("webhook").volumes).toContainEqual({
      name: "cluster-state",
      configMap: { name: "r-cache-registry-cluster-state", optional: true },
    });
    expect(manifests.config("controllers").clusterState).toEqual({ configMap: "r-cache-registry-cluster-state" });
    expect(manifests.config("webhook").clusterStateFile).toBe(`${mount?.mountPath}/state.json`);
  });

  it("waits for no state where it rewrites nothing", async () => {
    const manifests = await render({ values: { mode: "mirror" } });
    expect(manifests.config("webhook")).not.toHaveProperty("clusterStateFile");
    expect(manifests.container("webhook").volumeMounts.map(({ name }) => name)).not.toContain("cluster-state");
    expect(manifests.pod("webhook").volumes.map(({ name }) => name)).not.toContain("cluster-state");
    // for people: who asks the ConfigMap or its Events
    expect(manifests.config("controllers")).toHaveProperty("clusterState");
  });

  it("can be for those only that ask for it", async () => {
    const optIn = { key: POLICY, operator: "In", values: ["cache"] };
    const own = { key: "app", operator: "Exists" };
    const selectors = async (value: string | false) => {
      const controllers = { webhook: { objectSelector: { matchExpressions: [own] } } };
      const manifests = await render({ values: { webhook: { optIn: value }, controllers } });
      const { objectSelector, namespaceSelector } = configuration(manifests).webhook;
      const config = manifests.config("webhook").optIn;
      return {
        config,
        object: objectSelector.matchExpressions,
        namespace: namespaceSelector.matchExpressions.slice(1),
      };
    };
    expect(await selectors(false)).toEqual({ config: false, object: [OPT_OUT, own], namespace: [OPT_OUT] });
    expect(await selectors("namespace")).toEqual({ config: false, object: [OPT_OUT, own], namespace: [optIn] });
    expect(await selectors("pod")).toEqual({ config: true, object: [optIn, own], namespace: [OPT_OUT] });
    expect(await refusal({ values: { webhook: { optIn: "container" } } })).toContain("optIn");
  });

  it("takes conditions on the request from the values", async () => {
    const matchConditions = [{ name: "not-by-me", expression: "request.userInfo.username != 'me'" }];
    expect(configuration(await render()).webhook).not.toHaveProperty("matchConditions");
    expect(configuration(await render({ values: { webhook: { matchConditions } } })).webhook).toMatchObject({
      matchConditions,
    });
  });

  it("takes its policies from the values", async () => {
    const webhook = { failurePolicy: "Fail", timeoutSeconds: 7, reinvocationPolicy: "Never" };
    expect(configuration(await render({ values: { webhook } })).webhook).toMatchObject(webhook);
  });

  it("has two pods on different nodes where possible, with a disruption budget and updates without a gap", async () => {
    const manifests = await render();
    const { spec } = manifests.workload("webhook");
    expect(spec.replicas).toBe(2);
    expect(spec.strategy).toEqual({ type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
    expect(spec.template.spec.affinity).toMatchObject({
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            podAffinityTerm: {
              topologyKey: "kubernetes.io/hostname",
              labelSelector: { matchLabels: spec.selector.matchLabels },
            },
          },
        ],
      },
    });
    expect(manifests.only("PodDisruptionBudget", "webhook")).toMatchObject({
      spec: { maxUnavailable: 1, selector: { matchLabels: spec.selector.matchLabels } },
    });
    const without = await render({
      values: { webhook: { pdb: { enabled: false } }, controllers: { pdb: { enabled: false } } },
    });
    expect(without.ofKind("PodDisruptionBudget").map(componentOf)).toEqual(["registry"]);
  });
});
