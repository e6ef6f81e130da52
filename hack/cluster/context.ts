import type { Component, ComponentOptions } from "./components.ts";
import type { Layout } from "./layout.ts";
import type { NodeLayout } from "./node-layout.ts";
import type { Pki } from "./pki.ts";

/** What the parts of a cluster need to start. */
export interface ClusterContext {
  readonly layout: Layout;
  readonly pki: Pki;
  /** Tool name → path. */
  readonly tools: Readonly<Record<string, string>>;
  readonly log: (line: string) => void;
  /** Starts a built tool as a component under its own name, logged and remembered for the end. */
  readonly start: (tool: string, args: readonly string[], environment?: Readonly<Record<string, string>>) => Component;
  /** Starts any program as a component. */
  readonly startProcess: (options: Omit<ComponentOptions, "logs" | "onStart">) => Component;
  /** Ends the component of this name and starts it again with the same arguments. */
  readonly restart: (name: string) => Promise<Component>;
  /** The admin's kubectl; answers its standard output. */
  readonly kubectl: Kubectl;
}

/** What the parts of one node need: `start` runs programs in the node's network. */
export interface NodeContext extends ClusterContext {
  readonly node: NodeLayout;
}

interface KubectlOptions {
  /** Standard input, for `apply -f -`. */
  readonly input?: string;
  readonly timeoutMs?: number;
}

export type Kubectl = (args: readonly string[], options?: KubectlOptions) => Promise<string>;
