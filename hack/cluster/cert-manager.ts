import { join } from "node:path";
import { ensureTools } from "../tools/ensure.ts";
import type { Cluster } from "./cluster.ts";
import { type Component, waitFor } from "./components.ts";
import { requireTool } from "./containerd.ts";
import { HEALTH_PORTS } from "./layout.ts";

const KINDS = ["certificates", "certificaterequests", "issuers", "clusterissuers"];

/**
 * Gives the cluster cert-manager: its CRDs, and its controllers and CA injector as a process of this machine. Self-signed
 * and CA issuers only, and no admission webhook of its own. The process ends with the cluster, or by `stop`.
 */
export async function startCertManager(cluster: Cluster, { log }: { log: (line: string) => void }): Promise<Component> {
  const tools = await ensureTools(["cert-manager", "cert-manager-crds"], { log });
  const crds = requireTool(tools, "cert-manager-crds");
  const files = KINDS.flatMap((kind) => ["-f", join(crds, `cert-manager.io_${kind}.yaml`)]);
  await cluster.kubectl(["apply", "--server-side", ...files]);
  // Where the secrets of ClusterIssuers are looked for.
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "cert-manager" } };
  await cluster.kubectl(["apply", "-f", "-"], { input: JSON.stringify(namespace) });
  const names = KINDS.map((kind) => `crd/${kind}.cert-manager.io`);
  await cluster.kubectl(["wait", "--for=condition=Established", "--timeout=30s", ...names]);
  const health = `127.0.0.1:${HEALTH_PORTS.certManager}`;
  const args = [`--kubeconfig=${cluster.kubeconfig}`, `--health-address=${health}`];
  const started = cluster.startProcess({ name: "cert-manager", program: requireTool(tools, "cert-manager"), args });
  const healthy = async () => (await fetch(`http://${health}/healthz`)).ok;
  await waitFor(healthy, { what: "cert-manager running", components: [started], timeoutMs: 90_000 });
  return started;
}
