/** After an installation nothing is rewritten before the controllers have told the webhook that the cache is healthy. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "../cluster/cluster.ts";

const LIMIT_MS = 150_000;
const CLOSED = /^cache_registry_webhook_cluster_healthy 0$/m;

/**
 * Until every webhook pod of the release goes by the present configuration and a healthy state, or the time is over: then the
 * tests will tell. Releases whose webhook knows no such state are not waited for.
 */
export async function webhookRewrites(
  { kubectl }: Pick<Cluster, "kubectl">,
  { name, namespace }: { readonly name: string; readonly namespace: string },
): Promise<void> {
  const selector = `app.kubernetes.io/instance=${name},app.kubernetes.io/component=webhook`;
  const isClosed = async (): Promise<boolean> => {
    const list = `jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{"\\n"}{end}`;
    const found = await kubectl(["-n", namespace, "get", "pods", "-l", selector, "-o", list]);
    for (const line of found.split("\n").filter(Boolean)) {
      const [pod, ending] = line.split(" ");
      // After an upgrade: it still answers, by the configuration of before.
      if (ending) return true;
      const path = `/api/v1/namespaces/${namespace}/pods/${pod}:8082/proxy/metrics`;
      // It may have ended meanwhile.
      const metrics = await kubectl(["get", "--raw", path]).catch(() => "");
      if (CLOSED.test(metrics)) return true;
    }
    return false;
  };
  const deadline = Date.now() + LIMIT_MS;
  while (Date.now() < deadline && (await isClosed())) await sleep(300);
}
