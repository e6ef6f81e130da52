import { OFF, WRITER } from "@cache-registry/controllers/uninstall/node-files";
import { ProxyConfig } from "@cache-registry/proxy/config";
import { loadConfig } from "@cache-registry/runtime/config";
import { describe, expect, it } from "vitest";
import { refusal, render } from "./helm.ts";
import type { Container } from "./manifests.ts";

const CERTS = "/etc/containerd/certs.d";

describe("mode mirror", () => {
  it("is told to webhook, controllers and proxy alike", async () => {
    const manifests = await render({ values: { mode: "mirror" } });
    expect(manifests.config("webhook")).toMatchObject({ mode: "mirror" });
    expect(manifests.config("controllers")).toMatchObject({ mode: "mirror" });
    expect(manifests.config("proxy")).toMatchObject({
      hostsToml: { enabled: true, directory: CERTS, registries: ["_default"] },
    });
  });

  it("writes on the node by a container of root's that ends, confined to containerd's config_path", async () => {
    const manifests = await render({ values: { mode: "mirror" } });
    const pod = manifests.pod("proxy");
    const writer = pod.initContainers?.[0] as Container;
    expect(writer.args.at(-1)).toBe("--write-hosts-toml");
    expect(writer.securityContext).toEqual({
      runAsNonRoot: false,
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      privileged: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(writer.volumeMounts.find(({ mountPath }) => mountPath === CERTS)).toEqual({
      name: "certs",
      mountPath: CERTS,
    });
    expect(pod.volumes.flatMap(({ hostPath }) => (hostPath === undefined ? [] : [hostPath]))).toEqual([
      { path: CERTS, type: "DirectoryOrCreate" },
    ]);
    const proxy = manifests.container("proxy");
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65532 });
    expect(proxy.securityContext).not.toHaveProperty("runAsUser");
    expect(proxy.volumeMounts.find(({ mountPath }) => mountPath === CERTS)).toMatchObject({ readOnly: true });
    expect(proxy.image).toBe(writer.image);
  });

  it("takes another config_path and a list of registries, and restores the node's files where that is asked for", async () => {
    const hostsToml = { enabled: false, directory: "/etc/cri/certs.d", registries: ["docker.io", "harbor:5000"] };
    const manifests = await render({ values: { mode: "mirror", proxy: { hostsToml } } });
    expect(manifests.config("proxy")).toMatchObject({ hostsToml });
    expect(manifests.pod("proxy").initContainers).toHaveLength(1);
    expect(manifests.container("proxy").volumeMounts.map(({ mountPath }) => mountPath)).toContain("/etc/cri/certs.d");
    expect(await refusal({ values: { mode: "mirror", proxy: { hostsToml: { folder: "/x" } } } })).toContain("folder");
  });

  it("gives containerd's socket to the container that writes, and only where that is asked for", async () => {
    const criSocket = "/run/containerd/containerd.sock";
    const manifests = await render({ values: { mode: "mirror", proxy: { hostsToml: { criSocket } } } });
    const probe = { criSocket, resultFile: "/tmp/probe-pull.json" };
    expect(manifests.config("proxy")).toMatchObject({ hostsToml: { probe } });
    const mounts = (container: Container | undefined) => container?.volumeMounts.map(({ mountPath }) => mountPath);
    expect(mounts(manifests.pod("proxy").initContainers?.[0])).toContain(criSocket);
    expect(mounts(manifests.container("proxy"))).not.toContain(criSocket);
    const without = await render({ values: { mode: "mirror" } });
    expect(without.config("proxy").hostsToml).not.toHaveProperty("probe");
    expect(without.pod("proxy").volumes.map(({ name }) => name)).not.toContain("cri-socket");
  });

  it("can be told by who uninstalls to put the node's files back", async () => {
    const manifests = await render({ values: { mode: "mirror" } });
    expect(manifests.pod("proxy").initContainers?.map(({ name }) => name)).toEqual([WRITER]);
    const config = loadConfig({ schema: ProxyConfig, file: undefined, env: { [OFF.name]: OFF.value } });
    expect(config.hostsToml.enabled).toBe(false);
  });

  it("says itself whether it writes, so that an upgrade after an uninstallation that failed sets it right again", async () => {
    const envIn = async (enabled: boolean) => {
      const manifests = await render({ values: { mode: "mirror", proxy: { hostsToml: { enabled } } } });
      return manifests.pod("proxy").initContainers?.[0]?.env;
    };
    expect(await envIn(true)).toEqual([{ name: OFF.name, value: "true" }]);
    expect(await envIn(false)).toEqual([OFF]);
  });

  it("is the only one that touches the node's files", async () => {
    const pod = (await render()).pod("proxy");
    expect(pod.initContainers).toBeUndefined();
    expect(pod.volumes.filter(({ hostPath }) => hostPath)).toEqual([]);
  });
});

describe("a proxy with a host port", () => {
  it("is reached on the node's loopback only, and updated one after the other", async () => {
    const manifests = await render({ values: { proxy: { hostNetwork: false } } });
    const pod = manifests.pod("proxy");
    expect(pod.hostNetwork).toBeUndefined();
    expect(manifests.container("proxy").ports).toEqual([
      { name: "registry", containerPort: 7439, hostPort: 7439, hostIP: "127.0.0.1" },
    ]);
    expect(manifests.config("proxy")).toMatchObject({ listen: { hosts: ["0.0.0.0"], port: 7439 } });
    expect(manifests.config("proxy").listen).not.toHaveProperty("handover");
    expect(manifests.workload("proxy").spec.updateStrategy).toEqual({
      type: "RollingUpdate",
      rollingUpdate: { maxUnavailable: 1 },
    });
  });
});

it("on the host network the proxy that leaves waits for the one that comes", async () => {
  const manifests = await render();
  expect(manifests.config("proxy")).toMatchObject({
    listen: { hosts: ["127.0.0.1", "::1"], port: 7439, handover: "10s" },
  });
  // 10 s of waiting, 2 s for a quiet moment and 25 s for running pulls fit
  expect(manifests.pod("proxy").terminationGracePeriodSeconds).toBe(60);
});
