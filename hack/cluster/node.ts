import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Component, waitFor } from "./components.ts";
import type { NodeContext } from "./context.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { API_SERVER_ON_BRIDGE, HEALTH_PORTS, NETWORK } from "./layout.ts";
import { filterBridgedPackets } from "./node-network.ts";
import type { Subject } from "./pki.ts";

/** Starts the kubelet; the node is Ready some seconds later. */
export async function startKubelet(context: NodeContext): Promise<Component> {
  const { node, pki } = context;
  const kubeconfig = await nodeKubeconfig(context, { user: `system:node:${node.name}`, group: "system:nodes" });
  const resolvConf = join(node.root, "resolv.conf");
  // Pods must not inherit the search domains of this machine: every name would be asked there too.
  await writeFile(resolvConf, `nameserver ${NETWORK.address}\n`);
  await mkdir(node.kubelet, { recursive: true });
  const configuration = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki.ca.certFile },
    },
    authorization: { mode: "Webhook" },
    containerRuntimeEndpoint: `unix://${node.containerdSocket}`,
    clusterDNS: [NETWORK.dnsAddress],
    clusterDomain: NETWORK.domain,
    resolvConf,
    podLogsDir: join(node.root, "pod-logs"),
    healthzPort: HEALTH_PORTS.kubelet,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${node.cgroup}`,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    // Neither a full disk nor the size of the image store of a developer's machine may end pods.
    evictionHard: {},
    imageGCHighThresholdPercent: 100,
    serializeImagePulls: false,
    registryPullQPS: 0,
  };
  const file = join(node.root, "kubelet.json");
  await writeFile(file, JSON.stringify(configuration, null, 2));
  return context.start("kubelet", [
    `--config=${file}`,
    `--kubeconfig=${kubeconfig}`,
    `--root-dir=${node.kubelet}`,
    `--cert-dir=${join(node.kubelet, "pki")}`,
    `--hostname-override=${node.name}`,
    `--node-ip=${node.address}`,
  ]);
}

/** Starts kube-proxy, in iptables mode: only that answers NodePorts on localhost. */
export async function startKubeProxy(context: NodeContext): Promise<Component> {
  const { node } = context;
  const kubeconfig = await nodeKubeconfig(context, { user: "system:kube-proxy" });
  return context.start("kube-proxy", [
    `--kubeconfig=${kubeconfig}`,
    "--proxy-mode=iptables",
    // So small a table is rewritten in no time: tests need not wait a second for a new endpoint.
    "--iptables-min-sync-period=100ms",
    `--hostname-override=${node.name}`,
    `--bind-address=${node.address}`,
    `--cluster-cidr=${node.podSubnet}`,
    `--masquerade-all=${!(await filterBridgedPackets(node))}`,
    `--healthz-bind-address=127.0.0.1:${HEALTH_PORTS.proxy}`,
    `--metrics-bind-address=127.0.0.1:${HEALTH_PORTS.proxyMetrics}`,
    // Leave the machine's connection tracking limits alone.
    "--conntrack-max-per-core=0",
    "--conntrack-tcp-timeout-established=0",
    "--conntrack-tcp-timeout-close-wait=0",
  ]);
}

/** A kubeconfig with a certificate of its own. */
async function nodeKubeconfig({ pki, node }: NodeContext, subject: Subject): Promise<string> {
  const name = `${node.name}-${subject.user.replaceAll(":", "-")}`;
  const client = await pki.client(name, subject);
  return writeKubeconfig({ file: join(node.root, `${name}.kubeconfig`), server: API_SERVER_ON_BRIDGE, pki, client });
}

export async function nodeReady({ kubectl, node }: NodeContext, components: readonly Component[]): Promise<void> {
  const path = '{.status.conditions[?(@.type=="Ready")].status}';
  const ready = () => kubectl(["get", "node", node.name, "-o", `jsonpath=${path}`]);
  await waitFor(async () => (await ready()) === "True", { what: `${node.name} Ready`, components });
}
