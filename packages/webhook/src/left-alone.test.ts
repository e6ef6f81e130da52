import { SKIPPED_IMAGES_ANNOTATION } from "@cache-registry/core/labels";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import jsonPatch, { type Operation } from "fast-json-patch";
import { describe, expect, it } from "vitest";
import { type ClusterView, closedView, UNGATED } from "./cluster-state/cluster-view.ts";
import { Pod } from "./pod.ts";
import { createReviewer } from "./review-pod.ts";
import { controller, type PodParts, testPod } from "./testing/pods.ts";
import { patchIn, testRequest } from "./testing/reviews.ts";
import { testRules } from "./testing/rules.ts";

/*
 * What is never rewritten, clause by clause, as a user sees it: the pod that comes out of a review.
 */

type Case = PodParts & {
  readonly image?: string;
  readonly pullPolicy?: string;
  readonly config?: object;
  readonly cluster?: ClusterView;
};

function review({ image = "nginx", pullPolicy = "IfNotPresent", config, cluster = UNGATED, ...parts }: Case) {
  const containers = [{ name: "web", image, imagePullPolicy: pullPolicy }];
  const object = testPod({ ...parts, spec: { containers, ...parts.spec } });
  const metrics = createMetrics({ defaultMetrics: false });
  const rules = testRules({ ...config });
  const options = { mode: "rewrite", rules, cluster: () => cluster, logReviews: false } as const;
  const answer = createReviewer({ ...options, logger: silentLogger(), metrics })(testRequest({ object }));
  const patch = patchIn(answer) ?? [];
  const pod = Pod.parse(
    jsonPatch.applyPatch(structuredClone(object), structuredClone(patch) as Operation[]).newDocument,
  );
  const skipped = pod.metadata.annotations?.[SKIPPED_IMAGES_ANNOTATION];
  return {
    image: pod.spec.containers[0]?.image,
    isPatched: patch.length > 0,
    isManaged: pod.metadata.labels?.["cache-registry.enix.io/managed"] === "true",
    skipped: skipped === undefined ? undefined : (JSON.parse(skipped) as unknown),
  };
}

const policy = (value: string) => ({ labels: { "cache-registry.enix.io/image-caching-policy": value } });
const ownedBy = (apiVersion: string, kind: string) => ({ ownerReferences: [controller(apiVersion, kind)] });
const bare = (owners: object) => ({ metadata: { ownerReferences: [] }, config: { owners } });
const pullSecret = { imagePullSecrets: [{ name: "regcred" }] };
const share = (namespace: string) => ({ privateImages: { mode: "share", namespaces: [namespace] } });
const onNodes = (...terms: readonly object[][]) => {
  const nodeSelectorTerms = terms.map((matchExpressions) => ({ matchExpressions }));
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } };
  return { spec: { affinity: { nodeAffinity } } };
};
const osIn = (...values: readonly string[]) => ({ key: "kubernetes.io/os", operator: "In", values });
const PRIVATE = "ghcr.io/corp/app";
const ECR = "1.dkr.ecr.eu-west-1.amazonaws.com/app";

const set = ownedBy("apps/v1", "StatefulSet");
const spilo = { labels: { application: "spilo", "cluster-name": "orders" } };

describe("gets no patch at all", () => {
  it.each<[string, Case]>([
    ["a mirror pod of a static pod", { metadata: { annotations: { "kubernetes.io/config.mirror": "5a3f" } } }],
    ["a pod that opts out", { metadata: policy("ignore") }],
    ["a pod that does not opt in where it must", { config: { optIn: true } }],
    ["a pod for Windows, by its operating system", { spec: { os: { name: "windows" } } }],
    ["a pod for Windows, by its node selector", { spec: { nodeSelector: { "kubernetes.io/os": "windows" } } }],
    ["a pod for Windows, by the label of before", { spec: { nodeSelector: { "beta.kubernetes.io/os": "windows" } } }],
    [
      "a pod for Windows, by its build",
      { spec: { nodeSelector: { "node.kubernetes.io/windows-build": "10.0.20348" } } },
    ],
    ["a pod for Windows, by node affinity", onNodes([{ key: "size", operator: "Exists" }, osIn("windows")])],
    [
      "a pod for Windows, by node affinity of several kinds",
      onNodes(
        [osIn("windows")],
        [{ key: "node.kubernetes.io/windows-build", operator: "Exists" }],
        [{ key: "kubernetes.io/os", operator: "NotIn", values: ["linux"] }],
      ),
    ],
    ["a pod that is rewritten already", { image: "localhost:7439/docker.io/library/nginx" }],
    ["a pod that is rewritten already, its host in capitals", { image: "LOCALHOST:7439/docker.io/library/nginx" }],
  ])("%s", (_, pod) => {
    expect(review(pod)).toMatchObject({ isPatched: false, isManaged: false, skipped: undefined });
  });
});

describe("keeps its image, with a reason in the annotation", () => {
  it.each<[string, string, Case]>([
    ["critical", "system-node-critical", { spec: { priorityClassName: "system-node-critical" } }],
    ["critical", "system-cluster-critical", { spec: { priorityClassName: "system-cluster-critical" } }],
    ["never", "imagePullPolicy Never", { pullPolicy: "Never" }],
    ["owner", "the pod of an operator", { metadata: ownedBy("postgresql.cnpg.io/v1", "Cluster") }],
    ["owner", "a kind of ours in another group", { metadata: ownedBy("apps.kruise.io/v1", "StatefulSet") }],
    ["owner", "a bare pod where none is not allowed", bare({ allow: ["apps/ReplicaSet"] })],
    ["owner", "a StatefulSet behind which is an operator that compares", { metadata: { ...spilo, ...set } }],
    ["invalid", "no image reference", { image: "Nginx:1" }],
    ["invalid", "an identifier of the container runtime", { image: `sha256:${"a".repeat(64)}` }],
    ["invalid", "an IPv6 literal", { image: "[fd00::1]:5000/app" }],
    ["invalid", "a name without a dot that no upstream lists", { image: "harbor:5000/app" }],
    ["invalid", "another port than listed", { image: "harbor:5000/app", config: { registries: ["harbor:5001"] } }],
    ["invalid", "what Istio's injector puts its own image in place of", { image: "auto" }],
    ["invalid", "the node's own registry", { image: "localhost:5000/app" }],
    ["too-long", "more than 255 characters", { image: `ghcr.io/${"a".repeat(240)}` }],
    ["denied", "images.deny", { config: { images: { deny: ["docker.io/library/*"] } } }],
    ["denied", "not in images.allow", { config: { images: { allow: ["quay.io"] } } }],
    ["private", "pull secrets, the ServiceAccount's too", { image: PRIVATE, spec: pullSecret }],
    ["private", "pull secrets shared elsewhere", { image: PRIVATE, spec: pullSecret, config: share("other") }],
    ["private", "credentials of the nodes", { image: ECR }],
    ["private", "credentials of the nodes and none of the pod to share", { image: ECR, config: share("shop") }],
    ["unhealthy", "an unhealthy cache", { cluster: closedView("no proxy on 3 of 5 nodes") }],
    ["loop", "an owner that keeps recreating it", { cluster: { unhealthy: undefined, isLooping: () => true } }],
    ["dry-run", "a dry run", { config: { dryRun: true } }],
  ])("%s: %s", (reason, _, pod) => {
    const { image, isManaged, skipped } = review(pod);
    expect(skipped).toEqual({ web: reason });
    expect(image).toBe(pod.image ?? "nginx");
    expect(isManaged).toBe(false);
  });
});

describe("is rewritten", () => {
  it.each<[string, Case]>([
    ["a pod of a built-in workload", {}],
    ["a bare pod", { metadata: { ownerReferences: [] } }],
    ["a pod that opts in", { metadata: policy("cache"), config: { optIn: true } }],
    ["imagePullPolicy Always", { pullPolicy: "Always" }],
    ["another priority class", { spec: { priorityClassName: "high" } }],
    [
      "a name without a dot that an upstream lists",
      { image: "harbor:5000/a", config: { registries: ["harbor:5000"] } },
    ],
    [
      "a public image beside pull secrets",
      { spec: pullSecret, config: { images: { public: ["docker.io/library/*"] } } },
    ],
    ["a private image in a namespace that shares", { image: PRIVATE, spec: pullSecret, config: share("shop") }],
    [
      "a registry of node credentials for which the registry has its own",
      { image: ECR, config: { registriesWithCredentials: [ECR.slice(0, ECR.indexOf("/"))] } },
    ],
    ["a public image of such a registry", { image: ECR, config: { images: { public: ["*.dkr.ecr.*/app"] } } }],
    ["a name of just 255 characters", { image: `ghcr.io/${"a".repeat(255 - "localhost:7439/ghcr.io/".length)}` }],
    ["a pod for Linux", { spec: { os: { name: "linux" }, nodeSelector: { "kubernetes.io/os": "linux" } } }],
    ["a pod for Linux, by node affinity", onNodes([osIn("linux")])],
    [
      "a pod that opts in, whoever compares",
      { metadata: { labels: { ...spilo.labels, ...policy("cache").labels }, ...set } },
    ],
    ["an image that is only called so", { image: "team/auto" }],
    ["a pod for both", onNodes([osIn("windows", "linux")])],
    ["a pod for either", onNodes([osIn("windows")], [{ key: "size", operator: "Exists" }])],
    ["a pod for certain nodes", { spec: { affinity: { nodeAffinity: {}, podAffinity: {} } } }],
  ])("%s", (_, pod) => {
    const { image, isManaged, skipped } = review(pod);
    expect(image).toMatch(/^localhost:7439\/[a-z0-9]/);
    expect({ isManaged, skipped }).toEqual({ isManaged: true, skipped: undefined });
  });
});
