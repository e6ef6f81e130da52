import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { type Component, startComponent } from "./components.ts";
import { requireTool } from "./containerd.ts";
import type { ClusterContext, Kubectl } from "./context.ts";
import type { Layout } from "./layout.ts";
import { createPki } from "./pki.ts";
import type { ProcessIdentity } from "./process-table.ts";
import { type RunState, writeRunState } from "./run-state.ts";

export interface ContextParts extends Pick<ClusterContext, "layout" | "tools" | "log"> {
  readonly state: RunState & { readonly processes: Record<string, ProcessIdentity> };
}

export async function createContext({ layout, tools, state, log }: ContextParts): Promise<ClusterContext> {
  await rm(layout.logs, { recursive: true, force: true });
  const restarts = new Map<string, () => Promise<Component>>();
  const startProcess: ClusterContext["startProcess"] = (options) => {
    const component = startComponent({
      ...options,
      logs: layout.logs,
      onStart(identity) {
        state.processes[options.name] = identity;
        writeRunState(state);
      },
    });
    restarts.set(options.name, async () => {
      await component.stop();
      return startProcess(options);
    });
    return component;
  };
  return {
    layout,
    tools,
    log,
    pki: await createPki(layout.pki),
    kubectl: kubectlOf(requireTool(tools, "kubectl"), layout),
    start: (tool, args, environment) =>
      startProcess({ name: tool, program: requireTool(tools, tool), args, environment }),
    startProcess,
    async restart(name) {
      const restart = restarts.get(name);
      if (!restart) throw new Error(`the cluster has no ${name}; it has ${[...restarts.keys()].join(", ")}`);
      return restart();
    },
  };
}

function kubectlOf(program: string, { kubeconfig }: Layout): Kubectl {
  return (args, { input, timeoutMs = 120_000 } = {}) =>
    new Promise((resolve, reject) => {
      const options = { timeout: timeoutMs, maxBuffer: 256 << 20 };
      const child = execFile(program, [`--kubeconfig=${kubeconfig}`, ...args], options, (error, stdout, stderr) => {
        if (error) reject(new Error(`kubectl ${args.join(" ")}: ${stderr.trim() || error.message}`));
        else resolve(stdout);
      });
      child.stdin?.end(input);
    });
}
