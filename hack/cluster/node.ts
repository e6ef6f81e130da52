import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Component, waitFor } from "./components.ts";
import type { ClusterContext } from "./context.ts";
import { componentKubeconfig } from "./control-plane.ts";
import { CGROUP, HEALTH_PORTS, NETWORK, NODE_NAME } from "./layout.ts";
import { filterBridgedPackets } from "./machine-network.ts";

/** Starts the kubelet; the node is Ready some seconds later. */
export async function startKubelet(context: ClusterContext): Promise<Component> {
  const { layout, pki } = context;
  const user = { user: `system:node:${NODE_NAME}`, group: "system:nodes" };
  const kubeconfig = await componentKubeconfig(layout, pki, user);
  const resolvConf = join(layout.root, "resolv.conf");
  // Pods must not inherit the search domains of this machine: every name would be asked there too.
  await writeFile(resolvConf, `nameserver ${NETWORK.address}\n`);
  await mkdir(layout.kubelet, { recursive: true });
  const configuration = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki.ca.certFile },
    },
    authorization: { mode: "Webhook" },
    containerRuntimeEndpoint: `unix://${layout.containerdSocket}`,
    clusterDNS: [NETWORK.dnsAddress],
    clusterDomain: NETWORK.domain,
    resolvConf,
    podLogsDir: join(layout.root, "pod-logs"),
    healthzPort: HEALTH_PORTS.kubelet,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${CGROUP}`,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    // Neither a full disk nor the size of the image store of a developer's machine may end pods.
    evictionHard: {},
    imageGCHighThresholdPercent: 100,
    serializeImagePulls: false,
    registryPullQPS: 0,
  };
  const file = join(layout.root, "kubelet.json");
  await writeFile(file, JSON.stringify(configuration, null, 2));
  return context.start("kubelet", [
    `--config=${file}`,
    `--kubeconfig=${kubeconfig}`,
    `--root-dir=${layout.kubelet}`,
    `--cert-dir=${join(layout.kubelet, "pki")}`,
    `--hostname-override=${NODE_NAME}`,
    `--node-ip=${NETWORK.address}`,
  ]);
}

/** Starts kube-proxy, in iptables mode: only that answers NodePorts on localhost. */
export async function startKubeProxy(context: ClusterContext): Promise<Component> {
  const kubeconfig = await componentKubeconfig(context.layout, context.pki, { user: "system:kube-proxy" });
  return context.start("kube-proxy", [
    `--kubeconfig=${kubeconfig}`,
    "--proxy-mode=iptables",
    // So small a table is rewritten in no time: tests need not wait a second for a new endpoint.
    "--iptables-min-sync-period=100ms",
    `--hostname-override=${NODE_NAME}`,
    `--bind-address=${NETWORK.address}`,
    `--cluster-cidr=${NETWORK.podSubnet}`,
    `--masquerade-all=${!(await filterBridgedPackets())}`,
    `--healthz-bind-address=127.0.0.1:${HEALTH_PORTS.proxy}`,
    `--metrics-bind-address=127.0.0.1:${HEALTH_PORTS.proxyMetrics}`,
    // Leave the machine's connection tracking limits alone.
    "--conntrack-max-per-core=0",
    "--conntrack-tcp-timeout-established=0",
    "--conntrack-tcp-timeout-close-wait=0",
  ]);
}

export async function nodeReady({ kubectl }: ClusterContext, components: readonly Component[]): Promise<void> {
  const path = '{.status.conditions[?(@.type=="Ready")].status}';
  const ready = () => kubectl(["get", "node", NODE_NAME, "-o", `jsonpath=${path}`]);
  await waitFor(async () => (await ready()) === "True", { what: "the node Ready", components });
}
