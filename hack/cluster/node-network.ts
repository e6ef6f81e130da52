import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { inNetworkOf, type NodeLayout } from "./node-layout.ts";

const run = promisify(execFile);

/**
 * Makes the network of a further node: a namespace, a link to the machine, routes both ways. The machine is the router
 * between its own pods and the node's; the bridge for these is made by the CNI plugin with the first of them.
 */
export async function createNodeNetwork(node: NodeLayout): Promise<void> {
  if (!node.network) return;
  const { namespace, link, linkAddress } = node.network;
  const inside = (...args: string[]) => run("ip", ["-n", namespace, ...args]);
  await run("ip", ["netns", "add", namespace]);
  await run("ip", ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
  await run("ip", ["address", "add", `${linkAddress}/30`, "dev", link]);
  await run("ip", ["link", "set", link, "up"]);
  await inside("link", "set", "lo", "up");
  await inside("address", "add", `${node.address}/30`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("route", "add", "default", "via", linkAddress);
  await run("ip", ["route", "add", node.podSubnet, "via", node.address]);
  // Each network namespace has its own view of these.
  await run(...inNetworkOf(node, "sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]));
}

/**
 * Whether frames between two pods pass the node's packet filter. Without that, the answer of a pod reached by ClusterIP
 * goes straight back over the bridge with the wrong source address, and kube-proxy must masquerade everything instead.
 */
export async function filterBridgedPackets(node: NodeLayout): Promise<boolean> {
  const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  await run("modprobe", ["br_netfilter"]).catch(() => undefined);
  const [program, args] = inNetworkOf(node, "sh", ["-c", `echo 1 > ${setting} && cat ${setting}`]);
  const { stdout } = await run(program, args).catch(() => ({ stdout: "" }));
  return stdout.trim() === "1";
}
