import type { KubeObject } from "@cache-registry/kube/object";
import type { Resource } from "@cache-registry/kube/resource";

/** A record of kube-image-keeper v1 or of the ancestor chart; both kept `sourceImage`, only the first `retain`. */
export type OldRecord = KubeObject & { spec?: { sourceImage?: unknown; retain?: unknown; expiresAt?: unknown } };

/** A system that did the first half of this one's work, and the names it left in a cluster. */
export type Predecessor = {
  readonly name: string;
  readonly records: Resource<OldRecord>;
  /** On pods that it rewrote. */
  readonly podLabel: readonly [key: string, value: string];
  /** Opt-out on pods and namespaces; undefined where it is the one that is used here. */
  readonly policyLabel: string | undefined;
  /** Its webhook configuration has this in its name. */
  readonly webhook: string;
  /** Where that name is no proof: the path that its webhook is called at. */
  readonly webhookPath?: string;
};

const cachedImages = (group: string): Resource<OldRecord> => ({
  group,
  version: "v1alpha1",
  plural: "cachedimages",
  kind: "CachedImage",
  namespaced: false,
});

export const PREDECESSORS: readonly Predecessor[] = [
  {
    name: "kube-image-keeper v1",
    records: cachedImages("kuik.enix.io"),
    podLabel: ["kuik.enix.io/managed", "true"],
    policyLabel: "kube-image-keeper.enix.io/image-caching-policy",
    webhook: "kube-image-keeper",
  },
  {
    name: "docker-cache-registry",
    records: cachedImages("dcr.enix.io"),
    podLabel: ["dcr-images-rewritten", "true"],
    policyLabel: undefined,
    // Its chart has our name; its object is called mutating-webhook-configuration, with the release in front.
    // So are those of many operators: kubebuilder makes such names.
    webhook: "mutating-webhook-configuration",
    webhookPath: "/mutate-core-v1-pod",
  },
];
