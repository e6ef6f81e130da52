import type { Node } from "@cache-registry/kube/workloads";

/** All that is kept of a node in memory. */
export type NodeRecord = {
  readonly name: string;
  /** The kubelet says that it can run pods. */
  readonly ready: boolean;
  /** Cordoned: no new pods, but those that run may pull. */
  readonly unschedulable: boolean;
  /** `linux/amd64`, from the labels that every kubelet sets on its node; undefined while they are missing. */
  readonly platform: string | undefined;
  /** It has the taint that keeps pods away until its proxy is ready. */
  readonly tainted: boolean;
};

/** https://kubernetes.io/docs/reference/labels-annotations-taints/ */
const OS_LABEL = "kubernetes.io/os";
const ARCH_LABEL = "kubernetes.io/arch";

/** Silence of the kubelet is `Unknown`, written by the node controller: not ready either. */
export function nodeRecord(node: Node, { taint }: { readonly taint: string | undefined }): NodeRecord {
  const { labels = {} } = node.metadata;
  const [os, arch] = [labels[OS_LABEL], labels[ARCH_LABEL]];
  return {
    name: node.metadata.name,
    ready: node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false,
    unschedulable: node.spec?.unschedulable ?? false,
    platform: os && arch ? `${os}/${arch}` : undefined,
    tainted: taint !== undefined && (node.spec?.taints?.some(({ key }) => key === taint) ?? false),
  };
}
