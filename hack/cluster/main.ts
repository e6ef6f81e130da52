/**
 * A real Kubernetes cluster on this machine, for developers (root only):
 *
 *   node hack/cluster/main.ts up       start it and leave it running; `--nodes 2` with as many nodes
 *   node hack/cluster/main.ts status   say whether it runs, and where its files are
 *   node hack/cluster/main.ts down     end it and clean up, also after a crash
 */
import { parseArgs } from "node:util";
import { startCluster, stopCluster } from "./cluster.ts";
import { layoutOf } from "./layout.ts";
import { isAlive } from "./process-table.ts";
import { readRunState } from "./run-state.ts";

const log = (line: string) => console.error(line);

async function up(): Promise<void> {
  const { values } = parseArgs({ args: process.argv.slice(3), options: { nodes: { type: "string", default: "1" } } });
  const nodes = Number(values.nodes);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 9) throw new Error("--nodes: a number from 1 to 9");
  const cluster = await startCluster({ keep: true, nodes, log });
  console.log(`export KUBECONFIG=${cluster.kubeconfig}`);
  console.log(`# kubectl: ${cluster.tools.kubectl}; logs: ${cluster.logs}`);
}

function status(): void {
  const state = readRunState();
  if (!state) {
    console.log("no test cluster");
    return;
  }
  console.log(`files in ${state.root}; kubeconfig ${layoutOf(state.root).kubeconfig}`);
  for (const [name, identity] of Object.entries(state.processes)) {
    console.log(`${name.padEnd(24)} ${isAlive(identity) ? `process ${identity.pid}` : "ended"}`);
  }
}

async function down(): Promise<void> {
  console.log((await stopCluster()) ? "the test cluster is gone" : "no test cluster");
}

const commands: Record<string, () => void | Promise<void>> = { up, status, down };
const command = commands[process.argv[2] ?? ""];
try {
  if (!command) throw new Error("usage: node hack/cluster/main.ts up [--nodes 2] | status | down");
  await command();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
