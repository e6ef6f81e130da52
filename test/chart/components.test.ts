/** What every component takes, in the same words. */
import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import { COMPONENTS, type Component, type Container, type Manifest, type Manifests } from "./manifests.ts";

const DEPLOYMENTS = ["registry", "webhook", "controllers"] as const;

interface Spec extends Manifest {
  readonly spec: Record<string, unknown>;
}

async function one(component: Component, values: object, rest: object = {}): Promise<Manifests> {
  return render({ release: "r", namespace: "n", values: { ...rest, [component]: values } });
}

describe.each(COMPONENTS)("%s", (component) => {
  it("takes further volumes, mounts, containers and arguments, after its own", async () => {
    const sidecar = { name: "sidecar", image: "example.com/sidecar:1" };
    const manifests = await one(component, {
      extraVolumes: [{ name: "more", emptyDir: {} }],
      extraVolumeMounts: [{ name: "more", mountPath: "/more" }],
      extraContainers: [sidecar],
      extraArgs: ["--more"],
    });
    const { containers, volumes } = manifests.pod(component);
    expect(volumes.at(-1)).toEqual({ name: "more", emptyDir: {} });
    expect(containers.map(({ name }) => name)).toEqual([component, "sidecar"]);
    expect(containers[1]).toEqual(sidecar);
    const own = containers[0] as Container;
    expect(own.volumeMounts.at(-1)).toEqual({ name: "more", mountPath: "/more" });
    expect(own.args).toEqual([component, "--config", "/etc/cache-registry/config/config.yaml", "--more"]);
  });

  it("takes security contexts key by key, and topology spread about its own pods", async () => {
    const zone = { maxSkew: 1, topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway" };
    const other = { ...zone, labelSelector: { matchLabels: { app: "other" } } };
    const manifests = await one(component, {
      podSecurityContext: { fsGroup: 1000, supplementalGroups: [5] },
      securityContext: { runAsUser: 1000 },
      topologySpreadConstraints: [zone, other],
    });
    const { template, selector } = manifests.workload(component).spec;
    expect(template.spec.securityContext).toMatchObject({ fsGroup: 1000, supplementalGroups: [5], runAsUser: 65532 });
    expect(manifests.container(component).securityContext).toMatchObject({
      runAsUser: 1000,
      readOnlyRootFilesystem: true,
    });
    expect((template.spec as unknown as Record<string, unknown>).topologySpreadConstraints).toEqual([
      { ...zone, labelSelector: { matchLabels: selector.matchLabels } },
      other,
    ]);
  });

  it("has a service account that can be named, annotated, or somebody else's", async () => {
    const annotations = { "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/images" };
    const named = await one(component, { serviceAccount: { name: "own", annotations, automount: true } });
    const account = named.ofKind("ServiceAccount").find(({ metadata }) => metadata.name === "own");
    expect(account?.metadata.annotations).toMatchObject(annotations);
    expect(named.pod(component)).toMatchObject({ serviceAccountName: "own", automountServiceAccountToken: true });

    const foreign = await one(component, { serviceAccount: { create: false, name: "theirs" } });
    expect(foreign.ofKind("ServiceAccount")).toHaveLength(3);
    expect(foreign.pod(component).serviceAccountName).toBe("theirs");
    const none = await one(component, { serviceAccount: { create: false } });
    expect(none.pod(component).serviceAccountName).toBe("default");
  });

  it("takes configuration that no value has: mappings key by key, all else as a whole, null takes away", async () => {
    const before = (await one(component, {})).config(component);
    const config = { log: { access: false }, shutdown: { grace: "9s" }, management: { port: null } };
    const after = (await one(component, { config })).config(component);
    const { port: _, ...management } = before.management as Record<string, unknown>;
    expect(after).toEqual({
      ...before,
      log: { level: "info", format: "json", access: false },
      shutdown: { ...(before.shutdown as object | undefined), grace: "9s" },
      management,
    });
  });
});

describe.each(DEPLOYMENTS)("the Deployment of %s", (component) => {
  it("takes replicas and a strategy", async () => {
    const updateStrategy = { type: "Recreate" };
    const { spec } = (await one(component, { replicas: 0, updateStrategy })).workload(component);
    expect(spec).toMatchObject({ replicas: 0, strategy: updateStrategy });
  });

  it("has a disruption budget, which can be said the other way round", async () => {
    const budget = async (pdb: object) =>
      (await one(component, { pdb })).only<Spec>("PodDisruptionBudget", component).spec;
    expect(await budget({})).toMatchObject({ maxUnavailable: 1 });
    expect(await budget({ maxUnavailable: "25%" })).toMatchObject({ maxUnavailable: "25%" });
    const least = await budget({ minAvailable: 0 });
    expect(least).toMatchObject({ minAvailable: 0 });
    expect(least).not.toHaveProperty("maxUnavailable");
  });
});

describe("autoscaling", () => {
  const SHARED = {
    storage: {
      blobs: { driver: "s3", s3: { bucket: "images" } },
      metadata: { driver: "postgres", postgres: { existingSecret: "database" } },
    },
  };

  it.each([
    ["webhook", {}],
    ["registry", SHARED],
  ] as const)("of %s takes the place of replicas", async (component, rest) => {
    const metric = {
      type: "Pods",
      pods: { metric: { name: "x" }, target: { type: "AverageValue", averageValue: "1" } },
    };
    const behavior = { scaleDown: { stabilizationWindowSeconds: 60 } };
    const hpa = {
      enabled: true,
      minReplicas: 3,
      maxReplicas: 9,
      targetCPUUtilization: 70,
      metrics: [metric],
      behavior,
    };
    const manifests = await one(component, { ...rest, hpa });
    expect(manifests.workload(component).spec).not.toHaveProperty("replicas");
    expect(manifests.only<Spec>("HorizontalPodAutoscaler", component).spec).toEqual({
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: `r-cache-registry-${component}` },
      minReplicas: 3,
      maxReplicas: 9,
      metrics: [
        { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } } },
        metric,
      ],
      behavior,
    });
  });

  it("is off by default", async () => {
    expect((await render()).ofKind("HorizontalPodAutoscaler")).toEqual([]);
  });
});

describe("extraObjects", () => {
  it("are rendered with the release's names, as mappings and as texts", async () => {
    const extraObjects = [
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "{{ .Release.Name }}-a", labels: {} } },
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ include "cache-registry.fullname" . }}-b, labels: {} }\n',
    ];
    const names = (await render({ release: "r", values: { extraObjects } }))
      .ofKind("ConfigMap")
      .map(({ metadata }) => metadata.name);
    expect(names).toEqual(expect.arrayContaining(["r-a", "r-cache-registry-b"]));
  });
});

describe("the proxy of the way to upstreams", () => {
  it("is in the environment of the registry and the node proxy, and can come from a Secret", async () => {
    const forwardProxy = { http: "http://p:1", https: "http://p:2", noProxy: [".svc", "10.0.0.0/8"] };
    const secret = { name: "HTTPS_PROXY", valueFrom: { secretKeyRef: { name: "proxy", key: "url" } } };
    const manifests = await one("registry", { extraEnv: [secret] }, { forwardProxy });
    const variables = (component: Component) =>
      (manifests.container(component).env ?? []).filter(({ name }) => name.endsWith("_PROXY"));
    const [http, https, no] = [
      { name: "HTTP_PROXY", value: "http://p:1" },
      { name: "HTTPS_PROXY", value: "http://p:2" },
      { name: "NO_PROXY", value: ".svc,10.0.0.0/8" },
    ];
    expect(variables("proxy")).toEqual([http, https, no]);
    expect(variables("registry")).toEqual([http, no, secret]);
    expect([...variables("webhook"), ...variables("controllers")]).toEqual([]);
  });
});
