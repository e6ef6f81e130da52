/** Kubernetes objects that the story and the end-to-end tests create, and how they wait for them. */
import type { Cluster } from "../cluster/cluster.ts";

export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly { readonly name: string; readonly image: string }[];
    readonly initContainers?: readonly { readonly name: string; readonly image: string }[];
    readonly ephemeralContainers?: readonly { readonly name: string; readonly image: string }[];
    readonly volumes?: readonly { readonly name: string; readonly image?: { readonly reference: string } }[];
  };
  readonly status: {
    readonly phase: string;
    readonly containerStatuses?: readonly { readonly containerID?: string }[];
    readonly ephemeralContainerStatuses?: readonly { readonly state: { readonly running?: object } }[];
  };
}

/** A container that passes the restricted Pod Security Standard. */
export function container(name: string, image: string, extra: object = {}): object {
  return {
    name,
    image,
    imagePullPolicy: "IfNotPresent",
    securityContext: {
      allowPrivilegeEscalation: false,
      runAsNonRoot: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...extra,
  };
}

export function deployment(name: string, image: string, podLabels: Readonly<Record<string, string>> = {}): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name, ...podLabels } },
        spec: { terminationGracePeriodSeconds: 1, containers: [container("main", image)] },
      },
    },
  };
}

export function pod(
  name: string,
  image: string,
  { labels = {}, spec = {} }: { labels?: Readonly<Record<string, string>>; spec?: object } = {},
): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name, ...labels } },
    spec: { terminationGracePeriodSeconds: 1, containers: [container("main", image)], ...spec },
  };
}

/** The one pod behind a selector. */
export async function podOf({ kubectl }: Pick<Cluster, "kubectl">, selector: string): Promise<Pod> {
  const { items } = JSON.parse(await kubectl(["get", "pods", "-l", selector, "-o", "json"])) as { items: Pod[] };
  const [first] = items;
  if (!first) throw new Error(`no pod with ${selector}`);
  return first;
}

/** Polls until `probe` gives something. @throws Error naming what did not come */
export async function waitUntil<Result>(
  what: string,
  probe: () => Promise<Result | undefined>,
  { timeoutMs = 90_000, intervalMs = 250 } = {},
): Promise<Result> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const result = await probe();
    if (result !== undefined) return result;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
