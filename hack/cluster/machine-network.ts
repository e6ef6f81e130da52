import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { promisify } from "node:util";
import { NETWORK } from "./layout.ts";
import { NODE_NETWORK_PREFIX } from "./node-layout.ts";

const run = promisify(execFile);

/** Makes the bridge that carries the first node's pods and the machine's address. */
export async function createBridge(): Promise<void> {
  const taken = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address.startsWith("10.88.")),
  );
  if (taken) throw new Error(`the test cluster needs 10.88.0.0/16, of which interface ${taken[0]} uses a part`);
  await run("ip", ["link", "add", NETWORK.bridge, "type", "bridge"]);
  await run("ip", ["address", "add", `${NETWORK.address}/24`, "dev", NETWORK.bridge]);
  await run("ip", ["link", "set", NETWORK.bridge, "up"]);
  await writeFile("/proc/sys/net/ipv4/ip_forward", "1");
}

/** Removes the nodes' namespaces, the bridge and every packet filter rule that Kubernetes and the CNI plugins made. */
export async function removeMachineNetwork(): Promise<void> {
  for (const namespace of ours("/run/netns")) await run("ip", ["netns", "delete", namespace]).catch(() => undefined);
  // A link goes with its namespace, but only when the last process in there has.
  for (const link of ours("/sys/class/net")) await run("ip", ["link", "delete", link]).catch(() => undefined);
  await run("ip", ["link", "delete", NETWORK.bridge]).catch(() => undefined);
  for (const family of ["iptables", "ip6tables"]) await dropChains(family);
  for (const family of ["ip", "ip6"]) {
    await run("nft", ["delete", "table", family, "kube-proxy"]).catch(() => undefined);
  }
}

function ours(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(NODE_NETWORK_PREFIX)) : [];
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
