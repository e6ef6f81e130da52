import type { KubeObject } from "./object.ts";

/**
 * The built-in kinds that we read or write, with only the fields we use. As sent by the API server: times are text.
 * https://kubernetes.io/docs/reference/kubernetes-api/
 */
export type Container = {
  name: string;
  image?: string;
  /** Only where it is another than the pod's, as sidecars have it. */
  restartPolicy?: string;
};

export type PodSpec = {
  nodeName?: string;
  /** The API server fills in `Always`. */
  restartPolicy?: string;
  containers?: Container[];
  initContainers?: Container[];
  ephemeralContainers?: Container[];
  volumes?: { name: string; image?: { reference?: string } }[];
  imagePullSecrets?: { name?: string }[];
};

export type ContainerStatus = {
  name: string;
  restartCount?: number;
  state?: { waiting?: { reason?: string; message?: string }; running?: object; terminated?: object };
};

export type Pod = KubeObject & {
  spec?: PodSpec;
  status?: {
    phase?: string;
    conditions?: { type: string; status: string }[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
  };
};

type Template = { spec?: PodSpec };

export type ReplicaSet = KubeObject & { spec?: { replicas?: number; template?: Template } };
export type Deployment = KubeObject & { spec?: { replicas?: number; template?: Template } };
export type StatefulSet = KubeObject & { spec?: { template?: Template } };
export type DaemonSet = KubeObject & {
  spec?: { template?: Template };
  /** Numbers of nodes; a count of zero is left out. */
  status?: {
    observedGeneration?: number;
    desiredNumberScheduled?: number;
    updatedNumberScheduled?: number;
    numberUnavailable?: number;
  };
};
export type CronJob = KubeObject & { spec?: { jobTemplate?: { spec?: { template?: Template } } } };
export type Job = KubeObject & {
  spec?: { template?: Template };
  status?: { conditions?: { type: string; status: string }[] };
};

export type Namespace = KubeObject;
/** https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/ */
export type Node = KubeObject & {
  spec?: { unschedulable?: boolean; taints?: { key: string; value?: string; effect: string }[] };
  status?: { conditions?: { type: string; status: string }[] };
};
export type ConfigMap = KubeObject & { data?: Record<string, string> };
/** `data` is base64. */
export type Secret = KubeObject & { type?: string; data?: Record<string, string> };

/** `caBundle` is base64 of PEM. */
export type MutatingWebhookConfiguration = KubeObject & {
  webhooks?: { name: string; clientConfig?: { url?: string; caBundle?: string; service?: { path?: string } } }[];
};

/** https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/ (times: RFC 3339 with microseconds) */
export type Lease = KubeObject & {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
};
