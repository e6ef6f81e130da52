import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { promisify } from "node:util";
import { NETWORK } from "./layout.ts";

const run = promisify(execFile);

/** Makes the bridge that carries the pods and the node's own address. */
export async function createBridge(): Promise<void> {
  const taken = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address.startsWith("10.88.0.")),
  );
  if (taken) throw new Error(`the test cluster needs ${NETWORK.podSubnet}, which interface ${taken[0]} uses`);
  await run("ip", ["link", "add", NETWORK.bridge, "type", "bridge"]);
  await run("ip", ["address", "add", `${NETWORK.address}/24`, "dev", NETWORK.bridge]);
  await run("ip", ["link", "set", NETWORK.bridge, "up"]);
  await writeFile("/proc/sys/net/ipv4/ip_forward", "1");
}

/**
 * Whether frames between two pods pass the packet filter. Without that, the answer of a pod reached by ClusterIP goes
 * straight back over the bridge with the wrong source address, and kube-proxy must masquerade everything instead.
 */
export async function filterBridgedPackets(): Promise<boolean> {
  const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  await run("modprobe", ["br_netfilter"]).catch(() => undefined);
  try {
    await writeFile(setting, "1");
    return (await readFile(setting, "utf8")).trim() === "1";
  } catch {
    return false;
  }
}

/** Removes the bridge and every packet filter rule that Kubernetes and the CNI plugins made. */
export async function removeMachineNetwork(): Promise<void> {
  await run("ip", ["link", "delete", NETWORK.bridge]).catch(() => undefined);
  for (const family of ["iptables", "ip6tables"]) await dropChains(family);
  for (const family of ["ip", "ip6"]) {
    await run("nft", ["delete", "table", family, "kube-proxy"]).catch(() => undefined);
  }
}

/** Rewrites each table without the chains and rules of kubelet, kube-proxy and the CNI plugins; others stay as they are. */
async function dropChains(family: string): Promise<void> {
  const saved = await run(`${family}-save`, [], { maxBuffer: 64 << 20 }).catch(() => undefined);
  if (!saved || !/KUBE-|CNI-/.test(saved.stdout)) return;
  const restore = execFile(`${family}-restore`, []);
  restore.stdin?.end(withoutClusterRules(saved.stdout));
  await new Promise((resolve, reject) => {
    restore.once("error", reject);
    restore.once("exit", resolve);
  });
}

/** What `iptables-save` printed, without the chains named KUBE-… and CNI-…, their rules and the jumps to them. */
export function withoutClusterRules(saved: string): string {
  const ours = (line: string) => /^:(KUBE|CNI)-|^-A (KUBE|CNI)-|^-A .* -[jg] (KUBE|CNI)-/.test(line);
  return saved
    .split("\n")
    .filter((line) => !ours(line))
    .join("\n");
}
