import { describe, expect, it } from "vitest";
import { type ClusterView, closedView, UNGATED, viewOf } from "../cluster-state/cluster-view.ts";
import { controller, type PodParts, testPod } from "../testing/pods.ts";
import { testRules } from "../testing/rules.ts";
import { exclusionOf, imageEligibility, podObjection } from "./eligibility.ts";

describe("exclusionOf", () => {
  it.each<[string, PodParts]>([
    ["opt-out", { metadata: { labels: { "cache-registry.enix.io/image-caching-policy": "ignore" } } }],
    ["mirror-pod", { metadata: { annotations: { "kubernetes.io/config.mirror": "5a3f" } } }],
    ["mirror-pod", { metadata: { annotations: { "kubernetes.io/config.mirror": "" } } }],
    ["windows", { spec: { os: { name: "windows" } } }],
    ["windows", { spec: { nodeSelector: { "kubernetes.io/os": "windows" } } }],
  ])("%s: %j", (reason, parts) => {
    expect(exclusionOf({ pod: testPod(parts), rules: testRules() })?.reason).toBe(reason);
  });

  it.each<[string | undefined, string | undefined]>([
    ["no-opt-in", undefined],
    ["no-opt-in", "other"],
    ["opt-out", "ignore"],
    [undefined, "cache"],
  ])("%s where pods must opt in and the label is %s", (reason, value) => {
    const labels = value === undefined ? {} : { "cache-registry.enix.io/image-caching-policy": value };
    const pod = testPod({ metadata: { labels } });
    expect(exclusionOf({ pod, rules: testRules({ optIn: true }) })?.reason).toBe(reason);
  });

  it.each<[PodParts]>([
    [{}],
    [{ metadata: { labels: { "cache-registry.enix.io/image-caching-policy": "cache" } } }],
    [{ metadata: { annotations: { "kubernetes.io/config.source": "api" } } }],
    [{ spec: { os: { name: "linux" }, nodeSelector: { "kubernetes.io/os": "linux" } } }],
    [{ metadata: { labels: null, annotations: null } }],
  ])("lets pass %j", (parts) => {
    expect(exclusionOf({ pod: testPod(parts), rules: testRules() })).toBeUndefined();
  });
});

describe("podObjection", () => {
  const reasonOf = (parts: PodParts, keys = {}) =>
    podObjection({ pod: testPod(parts), namespace: "shop", rules: testRules(keys), cluster: UNGATED })?.reason;
  const owned = (...ownerReferences: unknown[]) => ({ metadata: { ownerReferences } });

  it.each<[string | undefined, PodParts]>([
    [undefined, owned(controller("apps/v1", "ReplicaSet"))],
    [undefined, owned(controller("apps/v1", "StatefulSet"))],
    [undefined, owned(controller("apps/v1", "DaemonSet"))],
    [undefined, owned(controller("batch/v1", "Job"))],
    [undefined, owned(controller("v1", "ReplicationController"))],
    [undefined, owned()],
    [undefined, { metadata: { ownerReferences: undefined } }],
    [undefined, owned({ ...controller("example.com/v1", "Tenant"), controller: false })],
    ["owner", owned(controller("postgresql.cnpg.io/v1", "Cluster"))],
    [
      "owner",
      owned({ ...controller("example.com/v1", "Tenant"), controller: false }, controller("batch/v1", "CronJob")),
    ],
    ["owner", owned(controller("apps.kruise.io/v1beta1", "StatefulSet"))],
    ["owner", owned(controller("v1", "Node"))],
    ["critical", { spec: { priorityClassName: "system-node-critical" } }],
    ["critical", { spec: { priorityClassName: "system-cluster-critical" } }],
    [undefined, { spec: { priorityClassName: "high" } }],
  ])("%s: %j", (reason, parts) => {
    expect(reasonOf(parts)).toBe(reason);
  });

  it("follows owners.allow", () => {
    const keys = { owners: { allow: ["example.com/Tenant"] } };
    expect(reasonOf(owned(controller("example.com/v2", "Tenant")), keys)).toBeUndefined();
    expect(reasonOf(owned(controller("apps/v1", "ReplicaSet")), keys)).toBe("owner");
    expect(reasonOf(owned(), keys)).toBe("owner");
  });
});

describe("imageEligibility", () => {
  type Parts = PodParts & { readonly pullPolicy?: string; readonly cluster?: ClusterView };
  const judge = (image: string, { pullPolicy, cluster = UNGATED, ...parts }: Parts = {}, keys = {}) => {
    const subject = { pod: testPod(parts), namespace: "shop", rules: testRules(keys), cluster, pullPolicy };
    const eligibility = imageEligibility(image, subject);
    return "cached" in eligibility ? eligibility.cached : eligibility.objection.reason;
  };
  const secrets = { spec: { imagePullSecrets: [{ name: "regcred" }] } };
  const digest = `sha256:${"0".repeat(64)}`;

  it.each([
    ["nginx", "localhost:7439/docker.io/library/nginx"],
    ["nginx:1.27", "localhost:7439/docker.io/library/nginx:1.27"],
    [`ghcr.io/a/b:1@${digest}`, `localhost:7439/ghcr.io/a/b:1@${digest}`],
    ["harbor.local:5000/a", "localhost:7439/harbor.local_5000/a"],
    ["10.1.2.3:5000/a", "localhost:7439/10.1.2.3_5000/a"],
  ])("%s is cached as %s", (image, cached) => {
    expect(judge(image)).toBe(cached);
  });

  it.each([
    "Nginx",
    "nginx:",
    "nginx@sha256:1",
    digest,
    "[::1]:5000/a",
    "[fd00::1]/a",
    "harbor:5000/a",
    "localhost/a",
    "localhost:5000/a",
    "127.0.0.1:5000/a",
  ])("%s is invalid", (image) => {
    expect(judge(image)).toBe("invalid");
  });

  it("reaches a name without a dot when an upstream lists it, with that port", () => {
    const keys = { registries: ["Harbor:5000", "localhost:5001", "127.0.0.1:5002"] };
    expect(judge("harbor:5000/a", {}, keys)).toBe("localhost:7439/harbor_5000/a");
    expect(judge("localhost:5001/a", {}, keys)).toBe("localhost:7439/localhost_5001/a");
    expect(judge("127.0.0.1:5002/a", {}, keys)).toBe("localhost:7439/127.0.0.1_5002/a");
    expect(judge("harbor:5001/a", {}, keys)).toBe("invalid");
    expect(judge("localhost/a", {}, keys)).toBe("invalid");
  });

  it("leaves images under imagePullPolicy Never, not under Always", () => {
    expect(judge("nginx", { pullPolicy: "Never" })).toBe("never");
    expect(judge("nginx", { pullPolicy: "Always" })).toContain("docker.io");
  });

  it("leaves the images of pods with pull secrets, except public ones", () => {
    expect(judge("ghcr.io/a/b", secrets)).toBe("private");
    const keys = { images: { public: ["docker.io/library/*"] } };
    expect(judge("nginx", secrets, keys)).toContain("docker.io");
    expect(judge("a/b", secrets, keys)).toBe("private");
    expect(judge("nginx", { spec: { imagePullSecrets: [{}, { name: "" }] } })).toContain("docker.io");
    expect(judge("nginx", { spec: { imagePullSecrets: [] } })).toContain("docker.io");
  });

  it("shares private images in the namespaces listed", () => {
    const share = (...namespaces: string[]) => ({ privateImages: { mode: "share", namespaces } });
    expect(judge("ghcr.io/a", secrets, share("shop"))).toContain("ghcr.io");
    expect(judge("ghcr.io/a", secrets, share("other"))).toBe("private");
    expect(judge("ghcr.io/a", secrets, { privateImages: { mode: "skip", namespaces: ["shop"] } })).toBe("private");
  });

  it.each([
    "1.dkr.ecr.eu-west-1.amazonaws.com/a",
    "1.dkr.ecr.cn-north-1.amazonaws.com.cn/a",
    "1.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a",
    "1.dkr-ecr.eu-west-1.on.aws/a",
    "1.dkr-ecr-fips.us-east-1.on.aws/a",
    "1.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn/a",
    "me.azurecr.io/a",
    "me.azurecr.cn/a",
    "me.azurecr.us/a",
    "europe-docker.pkg.dev/a/b",
    "gcr.io/a",
    "eu.gcr.io/a",
  ])("leaves %s, which nodes pull with credentials of their own", (image) => {
    expect(judge(image)).toBe("private");
    expect(judge(image, {}, { images: { public: ["*"] } })).toContain("localhost:7439");
    expect(judge(image, {}, { images: { nodeCredentials: [] } })).toContain("localhost:7439");
    const registry = image.slice(0, image.indexOf("/"));
    expect(judge(image, {}, { registriesWithCredentials: [registry] })).toContain("localhost:7439");
    expect(judge(image, {}, { registriesWithCredentials: ["other.example.com"] })).toBe("private");
    expect(judge(image, secrets, { registriesWithCredentials: [registry] })).toBe("private");
    // To share there must be pull secrets that can be handed on.
    const share = { privateImages: { mode: "share", namespaces: ["shop"] } };
    expect(judge(image, {}, share)).toBe("private");
    expect(judge(image, secrets, share)).toContain("localhost:7439");
  });

  it("rewrites of a registry with credentials of the nodes only the repositories that an upstream's credentials are for", () => {
    const keys = { registriesWithCredentials: ["EU.gcr.io/team/x", "eu.gcr.io/y"] };
    expect(judge("eu.gcr.io/team/x", {}, keys)).toContain("localhost:7439");
    expect(judge("eu.gcr.io/team/x/app", {}, keys)).toContain("localhost:7439");
    expect(judge("eu.gcr.io/y/app", {}, keys)).toContain("localhost:7439");
    expect(judge("eu.gcr.io/team/xy", {}, keys)).toBe("private");
    expect(judge("eu.gcr.io/team", {}, keys)).toBe("private");
    expect(judge("us.gcr.io/y/app", {}, keys)).toBe("private");
  });

  it("follows images.allow and images.deny", () => {
    const keys = { images: { allow: ["docker.io", "ghcr.io"], deny: ["docker.io/library/*"] } };
    expect(judge("nginx", {}, keys)).toBe("denied");
    expect(judge("grafana/loki", {}, keys)).toContain("grafana/loki");
    expect(judge("ghcr.io/a", {}, keys)).toContain("ghcr.io");
    expect(judge("quay.io/a", {}, keys)).toBe("denied");
  });

  it("leaves names that would be too long", () => {
    expect(judge(`ghcr.io/${"a".repeat(232)}`)).toContain("localhost:7439");
    expect(judge(`ghcr.io/${"a".repeat(233)}`)).toBe("too-long");
  });

  it("leaves everything while the cache is unhealthy", () => {
    expect(judge("nginx", { cluster: closedView("the registry is not ready") })).toBe("unhealthy");
  });

  describe("of an owner that kept recreating its pods", () => {
    const until = new Date("2026-11-21T12:00:00Z");
    const view = (owner: object, now = until.getTime() - 1) =>
      viewOf(
        {
          version: 1,
          writtenAt: new Date(0),
          healthy: true,
          reasons: [],
          loops: [{ namespace: "shop", apiVersion: "apps/v1", kind: "ReplicaSet", name: "owner", until, ...owner }],
        },
        () => now,
      );

    it("leaves the images until its time is over", () => {
      expect(judge("nginx", { cluster: view({}) })).toBe("loop");
      expect(judge("nginx", { cluster: view({}, until.getTime()) })).toContain("docker.io");
    });

    it.each([
      { namespace: "other" },
      { apiVersion: "extensions/v1" },
      { kind: "StatefulSet" },
      { name: "other" },
    ])("does not confuse it with %j", (other) => {
      expect(judge("nginx", { cluster: view(other) })).toContain("docker.io");
    });

    it("knows a pod without a controller by its own name", () => {
      const cluster = view({ apiVersion: "v1", kind: "Pod", name: "tool" });
      const ownerReferences = [{ ...controller("apps/v1", "ReplicaSet"), controller: false }];
      expect(judge("nginx", { cluster, metadata: { name: "tool", ownerReferences } })).toBe("loop");
      expect(judge("nginx", { cluster, metadata: { name: "tool-2", ownerReferences } })).toContain("docker.io");
      expect(judge("nginx", { cluster, metadata: { ownerReferences } })).toContain("docker.io");
      expect(judge("nginx", { cluster, metadata: { name: "tool" } })).toContain("docker.io");
    });
  });

  it("asks in order: the first reason counts, dry-run is the last", () => {
    const keys = { dryRun: true, images: { deny: ["quay.io"] } };
    const never = { ...secrets, pullPolicy: "Never" };
    expect(judge("Nginx", never, keys)).toBe("invalid");
    expect(judge("quay.io/a", never, keys)).toBe("denied");
    expect(judge("ghcr.io/a", never, keys)).toBe("never");
    expect(judge("ghcr.io/a", secrets, keys)).toBe("private");
    const isLooping = () => true;
    const cluster = { unhealthy: "no proxy", isLooping };
    expect(judge(`ghcr.io/${"a".repeat(233)}`, { cluster }, keys)).toBe("too-long");
    expect(judge("ghcr.io/a", { cluster }, keys)).toBe("unhealthy");
    expect(judge("ghcr.io/a", { cluster: { ...cluster, unhealthy: undefined } }, keys)).toBe("loop");
    expect(judge("ghcr.io/a", {}, keys)).toBe("dry-run");
  });
});
