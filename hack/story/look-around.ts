import type { Release } from "../stage/release.ts";
import type { Stage } from "../stage/stage.ts";

/** Commands that work as printed while the story stays up. */
export async function howToLookAround({ cluster }: Stage, release: Release): Promise<string[]> {
  const kubectl = `${cluster.tools.kubectl} --kubeconfig ${cluster.kubeconfig}`;
  const registry = await release.registryUrl();
  return [
    `${kubectl} get cachedimages`,
    `${kubectl} -n ${release.namespace} get pods`,
    `${kubectl} create deployment hello --image hello:1.0`,
    `curl ${registry}/v2/_catalog`,
    `curl ${registry.replace(/:5000$/, ":8081")}/metrics`,
    `curl http://localhost:7439/v2/docker.io/library/hello/manifests/1.0   # the node's proxy, as containerd asks it`,
    `tail -f ${cluster.logs}/*.log`,
  ];
}
