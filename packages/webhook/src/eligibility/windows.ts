import type { NodeRequirement, Pod } from "../pod.ts";

/** The second is the one of before Kubernetes 1.18, which kubelets still set. */
const OS_LABELS = ["kubernetes.io/os", "beta.kubernetes.io/os"];
/** Only Windows nodes have it. https://kubernetes.io/docs/reference/labels-annotations-taints/ */
const BUILD_LABEL = "node.kubernetes.io/windows-build";

/** Can the pod run on Windows nodes alone? By what it says itself; a toleration alone says nothing. */
export function isForWindows({ spec }: Pod): boolean {
  if (spec.os) return spec.os.name === "windows";
  const selector = spec.nodeSelector ?? {};
  if (OS_LABELS.some((label) => selector[label] === "windows") || selector[BUILD_LABEL] !== undefined) return true;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required?.nodeSelectorTerms ?? [];
  // One of the terms has to hold, and of a term all requirements.
  return terms.length > 0 && terms.every(({ matchExpressions }) => matchExpressions?.some(meansWindows));
}

function meansWindows({ key, operator, values }: NodeRequirement): boolean {
  if (key === BUILD_LABEL) return operator === "In" || operator === "Exists";
  if (!OS_LABELS.includes(key) || !values?.length) return false;
  if (operator === "In") return values.every((value) => value === "windows");
  return operator === "NotIn" && values.includes("linux");
}
