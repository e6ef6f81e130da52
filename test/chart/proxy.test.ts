import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { render } from "./helm.ts";
import type { Manifest } from "./manifests.ts";

describe("the proxy", () => {
  it("is on every Linux node, on the host network, and updated without a gap", async () => {
    const manifests = await render();
    const { kind, spec } = manifests.workload("proxy");
    expect(kind).toBe("DaemonSet");
    expect(spec.updateStrategy).toEqual({ type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
    const pod = manifests.pod("proxy");
    expect(pod).toMatchObject({
      hostNetwork: true,
      dnsPolicy: "ClusterFirstWithHostNet",
      priorityClassName: "system-node-critical",
      tolerations: [{ operator: "Exists" }],
    });
    // a declared port would be a host port, and the second pod of an update could not be placed
    expect(manifests.container("proxy").ports).toBeUndefined();
    expect(pod.volumes.filter(({ hostPath }) => hostPath)).toEqual([]);
  });

  it.each([
    ["cache-registry", "CACHE_REGISTRY_REGISTRY_SERVICE_HOST"],
    ["my-1.images", "MY_1_IMAGES_CACHE_REGISTRY_REGISTRY_SERVICE_HOST"],
  ])("of release %s reaches the registry by the address in %s", async (release, variable) => {
    const manifests = await render({ release });
    expect(manifests.pod("proxy").enableServiceLinks).toBe(true);
    expect(manifests.container("proxy").env).toEqual([
      { name: "MALLOC_ARENA_MAX", value: "2" },
      { name: "CREG_REGISTRY__URL", value: `http://$(${variable}):5000` },
    ]);
    // how the kubelet names it (pkg/kubelet/envvars)
    const service = manifests.only("Service", "registry").metadata.name;
    expect(variable).toBe(`${service.toUpperCase().replaceAll("-", "_")}_SERVICE_HOST`);
  });
});

describe("a second release on the same nodes", () => {
  it("has ports of its own: nothing still asks the usual ones", async () => {
    const values = {
      endpoint: "localhost:7500",
      proxy: { managementPort: 9084 },
      monitoring: { podMonitor: { enabled: true }, serviceMonitor: { enabled: true } },
    };
    const manifests = await render({ values });
    expect(manifests.config("proxy")).toMatchObject({ listen: { port: 7500 }, management: { port: 9084 } });
    const { startupProbe, livenessProbe, readinessProbe } = manifests.container("proxy");
    const probes = [startupProbe, livenessProbe, readinessProbe].map((probe) => probe.httpGet.port);
    expect(probes).toEqual([9084, 9084, 9084]);
    expect(JSON.stringify(manifests.all)).not.toMatch(/\b(8084|7439)\b/);
    expect(JSON.stringify(manifests.ofKind("PodMonitor"))).toContain("9084");
    expect(JSON.stringify(manifests.only("Service", "proxy"))).toContain("9084");
  });
});

it("starts the image's program with the flags under which its memory is tested", async () => {
  const manifests = await render({});
  const memoryTest = await readFile(new URL("../integration/proxy-memory.test.ts", import.meta.url), "utf8");
  const flags = JSON.parse(/const FLAGS = (\[.*\]);/.exec(memoryTest)?.[1] ?? "null");
  expect(manifests.container("proxy").command).toEqual(["/usr/local/bin/node", ...flags, "/app/main.js"]);
  for (const other of ["registry", "webhook", "controllers"] as const)
    expect(manifests.container(other).command).toBeUndefined();
});

describe("uninstalling", () => {
  function kept({ metadata }: Manifest): boolean {
    return metadata.annotations?.["helm.sh/resource-policy"] === "keep";
  }

  it("keeps the proxy, what its pods need, and the definition of CachedImages", async () => {
    const manifests = await render({ release: "r" });
    const names = manifests.all.filter(kept).map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(names.filter((name) => !name.startsWith("CustomResourceDefinition/")).sort()).toEqual([
      "ConfigMap/r-cache-registry-proxy",
      "DaemonSet/r-cache-registry-proxy",
      "Service/r-cache-registry-registry",
      "ServiceAccount/r-cache-registry-proxy",
    ]);
    const pod = manifests.pod("proxy");
    const referenced = pod.volumes
      .flatMap(({ configMap, secret }) => [configMap?.name, secret?.secretName])
      .filter(Boolean);
    expect(referenced).toEqual(["r-cache-registry-proxy"]);
    expect(pod.serviceAccountName).toBe("r-cache-registry-proxy");
  });
});
