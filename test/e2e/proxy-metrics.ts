import type { ClusterNode } from "../../hack/cluster/start-node.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { metricOf } from "../support/metrics-text.ts";

/** A metric of the proxy on this node, summed over its series; zero when there is none. */
export async function proxyMetric(
  node: ClusterNode,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { probe = "probe" } = await ensureTools(["probe"], { log: () => undefined });
  // The proxy is on the node's own network.
  const text = await node.run(probe, ["get", "http://localhost:8084/metrics"]);
  return metricOf(text, `cache_registry_${name}`, labels) ?? 0;
}
