import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { NODES } from "../../packages/kube/src/resource.ts";
import type { Node } from "../../packages/kube/src/workloads.ts";

export interface SimulatedNodes {
  readonly names: readonly string[];
  stop(): Promise<void>;
}

export type SimulatedNodesOptions = {
  readonly client: KubeClient;
  readonly kubeconfig: string;
  readonly count: number;
  /** For its log. */
  readonly directory: string;
};

/** Nodes become ready and stay so, pods run when they are bound, and go when they are deleted. */
const STAGES = [
  "node/fast/node-initialize.yaml",
  "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
  "pod/fast/pod-ready.yaml",
  "pod/fast/pod-delete.yaml",
];

/** Nodes without machines: kwok answers for their kubelets, so that pods bound to them run and end as real ones do. */
export async function startSimulatedNodes(options: SimulatedNodesOptions): Promise<SimulatedNodes> {
  const { client, kubeconfig, count, directory } = options;
  const tools = await ensureTools(["kwok", "kwok-stages"], { log: (line) => process.stderr.write(`${line}\n`) });
  const { kwok, "kwok-stages": stages } = tools;
  if (!kwok || !stages) throw new Error("the tools folder gave no path of kwok");
  const names = Array.from({ length: count }, (_, index) => `simulated-${index}`);
  for (const name of names) {
    const labels = { "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name };
    await client.create<Node>(NODES, { apiVersion: "v1", kind: "Node", metadata: { name, labels } });
  }
  const port = await freePort();
  const args = [`--kubeconfig=${kubeconfig}`, "--manage-all-nodes=true", `--server-address=127.0.0.1:${port}`];
  for (const stage of STAGES) args.push(`--config=${join(stages, stage)}`);
  const child = spawn(kwok, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
  const log = createWriteStream(join(directory, "kwok.log"));
  for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false });
  return {
    names,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await exited;
      }
      log.end();
    },
  };
}
