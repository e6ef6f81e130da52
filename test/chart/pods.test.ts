import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import { COMPONENTS, type Manifests, type PodSpec } from "./manifests.ts";

const MANAGEMENT_PORTS = { registry: 8081, webhook: 8082, controllers: 8083, proxy: 8084 };

const FULL = {
  registry: { persistence: { enabled: true }, auth: { htpasswd: { enabled: true, existingSecret: "users" } } },
  certificates: { mode: "existingSecret", existingSecret: "tls", caBundle: "Y2E=" },
};

function containers(manifests: Manifests) {
  return manifests.workloads().flatMap(({ metadata, spec: { template } }) => {
    const { containers, initContainers = [] } = template.spec;
    return [...containers, ...initContainers].map((container) => ({
      name: metadata.name,
      pod: template.spec,
      container,
    }));
  });
}

describe.each([
  ["the default values", {}],
  ["everything switched on", FULL],
])("pods with %s", (_, values) => {
  it("are confined: the restricted Pod Security profile, and a read-only root file system", async () => {
    const all = containers(await render({ values }));
    expect(all).toHaveLength(4);
    for (const { pod, container } of all) {
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        privileged: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect([pod.hostPID, pod.hostIPC]).toEqual([undefined, undefined]);
    }
  });

  it("use only volume types that the restricted profile allows, and can write to /tmp", async () => {
    for (const { pod, container } of containers(await render({ values }))) {
      for (const { name: _name, ...source } of pod.volumes) {
        expect(["configMap", "secret", "emptyDir", "persistentVolumeClaim"]).toContain(Object.keys(source)[0]);
      }
      const tmp = container.volumeMounts.find(({ mountPath }) => mountPath === "/tmp");
      expect(tmp?.readOnly).toBeUndefined();
      expect(pod.volumes.find(({ name }) => name === tmp?.name)?.emptyDir).toEqual({});
    }
  });

  it("mount every volume that they name, and Secrets readable by their own group only", async () => {
    for (const { pod, container } of containers(await render({ values }))) {
      expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual(pod.volumes.map(({ name }) => name).sort());
      const modes = pod.volumes.flatMap(({ secret }) => (secret ? [[secret.defaultMode, secret.optional]] : []));
      expect(modes).toEqual(modes.map(() => [0o440, undefined]));
      expect(pod.securityContext.fsGroup).toBe(65532);
    }
  });

  it("have probes on the management port, resources and a time to end", async () => {
    const manifests = await render({ values });
    for (const component of COMPONENTS) {
      const container = manifests.container(component);
      const port = MANAGEMENT_PORTS[component];
      expect(container.startupProbe.httpGet).toEqual({ path: "/livez", port });
      expect(container.livenessProbe.httpGet).toEqual({ path: "/livez", port });
      expect(container.readinessProbe.httpGet).toEqual({ path: "/readyz", port });
      expect(container.resources.requests).toEqual({ cpu: expect.any(String), memory: expect.any(String) });
      expect(container.resources.limits).toEqual({ memory: expect.any(String) });
      expect(manifests.pod(component).terminationGracePeriodSeconds).toBeGreaterThanOrEqual(30);
    }
  });

  it("run the one image with the component's command and its configuration file", async () => {
    const manifests = await render({ values });
    for (const component of COMPONENTS) {
      const { args, image, volumeMounts } = manifests.container(component);
      expect(args).toEqual([component, "--config", "/etc/cache-registry/config/config.yaml"]);
      expect(image).toBe("ghcr.io/enix/cache-registry:0.1.0");
      // whole, not by subPath: the process reads the file again when it changes
      expect(volumeMounts[0]).toEqual({ name: "config", mountPath: "/etc/cache-registry/config", readOnly: true });
      expect(manifests.pod(component).volumes[0]?.configMap?.name).toBe(`cache-registry-${component}`);
    }
  });

  it("run on Linux, opt out of our own webhook, and only the proxy is on the host network or sees service links", async () => {
    const manifests = await render({ values });
    for (const component of COMPONENTS) {
      const pod: PodSpec = manifests.pod(component);
      const { labels } = manifests.workload(component).spec.template.metadata;
      expect(labels["cache-registry.enix.io/image-caching-policy"]).toBe("ignore");
      expect(pod.nodeSelector).toEqual({ "kubernetes.io/os": "linux" });
      expect(pod.hostNetwork).toBe(component === "proxy" ? true : undefined);
      expect(pod.enableServiceLinks).toBe(component === "proxy");
      expect(pod.automountServiceAccountToken).toBe(component === "controllers");
    }
  });
});

describe.each(COMPONENTS)("values of %s", (component) => {
  it("set image, pull secrets, placement, labels, annotations, variables and resources", async () => {
    const knobs = {
      image: {
        registry: "registry.local:5000",
        repository: "x/y",
        tag: "v9",
        digest: `sha256:${"a".repeat(64)}`,
        pullPolicy: "Always",
      },
      imagePullSecrets: [{ name: "own" }],
      resources: { requests: { cpu: "1" }, limits: { memory: "1Gi" } },
      nodeSelector: { pool: "infra" },
      affinity: { nodeAffinity: {} },
      tolerations: [{ key: "infra" }],
      priorityClassName: "important",
      podLabels: { team: "platform" },
      podAnnotations: { note: "1" },
      extraEnv: [{ name: "CREG_REGISTRY__URL", value: "http://elsewhere" }],
      log: { level: "debug" },
    };
    const manifests = await render({ values: { imagePullSecrets: [{ name: "common" }], [component]: knobs } });
    const pod = manifests.pod(component);
    const container = manifests.container(component);
    expect(container.image).toBe(`registry.local:5000/x/y:v9@sha256:${"a".repeat(64)}`);
    expect(container.imagePullPolicy).toBe("Always");
    expect(pod.imagePullSecrets).toEqual([{ name: "common" }, { name: "own" }]);
    expect(container.resources).toMatchObject(knobs.resources);
    expect(pod.nodeSelector).toEqual({ "kubernetes.io/os": "linux", pool: "infra" });
    expect(pod.affinity).toEqual(knobs.affinity);
    expect(pod.tolerations).toEqual(knobs.tolerations);
    expect(pod.priorityClassName).toBe("important");
    expect(manifests.workload(component).spec.template.metadata).toMatchObject({
      labels: { team: "platform" },
      annotations: { note: "1" },
    });
    // one entry per name: server-side apply refuses a list with two
    expect(container.env?.filter(({ name }) => name === "CREG_REGISTRY__URL")).toEqual(knobs.extraEnv);
    expect(manifests.config(component).log).toMatchObject({ level: "debug" });
  });

  it("restart its pods, and no others, when its configuration changes", async () => {
    const checksums = (manifests: Manifests) =>
      COMPONENTS.map((one) => manifests.workload(one).spec.template.metadata.annotations?.["checksum/config"]);
    const before = checksums(await render());
    const after = checksums(await render({ values: { [component]: { log: { level: "debug" } } } }));
    const changed = COMPONENTS.filter((_, index) => before[index] !== after[index]);
    expect(changed).toEqual([component]);
  });
});

describe("the image", () => {
  it("comes from the common value unless the component says otherwise", async () => {
    const digest = `sha256:${"b".repeat(64)}`;
    const manifests = await render({
      values: {
        image: { registry: "mirror.local", repository: "cache", tag: "v2", digest, pullPolicy: "Never" },
        proxy: { image: { tag: "v3" } },
        webhook: { image: { registry: "other.local" } },
      },
    });
    expect(manifests.container("registry").image).toBe(`mirror.local/cache:v2@${digest}`);
    expect(manifests.container("webhook").image).toBe(`other.local/cache:v2@${digest}`);
    expect(manifests.container("proxy").image).toBe("mirror.local/cache:v3");
    expect(manifests.container("proxy").imagePullPolicy).toBe("Never");
  });
});
