import { isPassing } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import { DAEMON_SETS } from "@cache-registry/kube/resource";
import type { DaemonSet } from "@cache-registry/kube/workloads";
import { sleep } from "@cache-registry/runtime/backoff";
import { selectorOf } from "./leftovers.ts";

/** The chart's init container that writes hosts.toml files in mode mirror. */
export const WRITER = "hosts-toml";
/** Tells it to put everything back as it was before us. */
export const OFF = { name: "CREG_HOSTSTOML__ENABLED", value: "false" };

export type NodeFilesDeps = {
  readonly client: KubeClient;
  readonly release: string;
  /** Of the proxies. */
  readonly namespace: string;
  readonly signal: AbortSignal;
  /** Milliseconds for all nodes. */
  readonly timeout: number;
  /** How many nodes have their files back, of how many. */
  readonly onProgress: (done: number, of: number) => void;
};

/**
 * In mode mirror the nodes' certs.d folders hold files of ours: a rollout of the proxies restores what was there before them,
 * on every node. @returns how many nodes are not done when the time is over; 0 where there was nothing to do
 */
export async function restoreNodeFiles(deps: NodeFilesDeps): Promise<number> {
  const { client, release, namespace, signal, timeout, onProgress } = deps;
  const began = performance.now();
  const labelSelector = `${selectorOf(release)},app.kubernetes.io/component=proxy`;
  const { items } = await client.list(DAEMON_SETS, { namespace, labelSelector, signal });
  let open = 0;
  for (const { metadata, spec } of items) {
    const containers = spec?.template?.spec?.initContainers ?? [];
    const index = containers.findIndex(({ name }) => name === WRITER);
    if (index < 0) continue;
    const at = { namespace, name: metadata.name };
    const path = `/spec/template/spec/initContainers/${index}`;
    const operations = [
      { op: "test", path: `${path}/name`, value: WRITER },
      { op: "add", path: `${path}/env`, value: [OFF] },
    ] as const;
    await client.patch(DAEMON_SETS, at, { operations, signal });
    for (;;) {
      const isLate = performance.now() - began > timeout;
      try {
        const { done, of } = rolledOut(await client.get(DAEMON_SETS, at, { signal }));
        onProgress(done, of);
        open = of - done;
        if (open === 0 || isLate) break;
      } catch (error) {
        if (signal.aborted || isLate || !isPassing(error)) throw error;
      }
      await sleep(1_000, signal);
    }
  }
  return open;
}

/** Nodes whose new proxy pod is ready, so that its init container has ended well. */
function rolledOut({ metadata, status }: DaemonSet): { done: number; of: number } {
  const of = status?.desiredNumberScheduled ?? 0;
  // Its controller has not seen the change: its numbers are those of before.
  if (status?.observedGeneration !== metadata.generation) return { done: 0, of: Math.max(1, of) };
  const { updatedNumberScheduled: updated = 0, numberUnavailable: unavailable = 0 } = status ?? {};
  return { done: Math.max(0, Math.min(of, updated) - unavailable), of };
}
