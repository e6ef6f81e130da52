import { Pod } from "../pod.ts";

export type PodParts = {
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly spec?: Readonly<Record<string, unknown>>;
};

/** A pod of a ReplicaSet with one nginx container, as a webhook sees it: no name yet, policies filled in. For tests. */
export function testPod({ metadata, spec }: PodParts = {}): Pod {
  return Pod.parse({
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      generateName: "web-7d4b9c-",
      ownerReferences: [controller("apps/v1", "ReplicaSet")],
      ...metadata,
    },
    spec: { containers: [{ name: "web", image: "nginx:1.27", imagePullPolicy: "IfNotPresent" }], ...spec },
    status: {},
  });
}

export function controller(apiVersion: string, kind: string) {
  return { apiVersion, kind, name: "owner", uid: "0a1b", controller: true, blockOwnerDeletion: true };
}
