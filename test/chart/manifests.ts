import { parse } from "yaml";

/** What the tests read of Kubernetes objects. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly imagePullPolicy: string;
  /** Instead of the image's own. */
  readonly command?: readonly string[];
  readonly args: readonly string[];
  readonly env?: readonly { name: string; value?: string; valueFrom?: unknown }[];
  readonly ports?: readonly { name: string; containerPort: number }[];
  readonly resources: { requests?: Record<string, string>; limits?: Record<string, string> };
  readonly securityContext: Record<string, unknown>;
  readonly volumeMounts: readonly { name: string; mountPath: string; subPath?: string; readOnly?: boolean }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
}

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: number };
}

export interface Volume {
  readonly name: string;
  readonly configMap?: { name: string; optional?: boolean };
  readonly secret?: { secretName: string; defaultMode: number; optional?: boolean; items?: unknown };
  readonly emptyDir?: { sizeLimit?: string };
  readonly persistentVolumeClaim?: { claimName: string };
  readonly hostPath?: unknown;
}

export interface PodSpec {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly enableServiceLinks: boolean;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly dnsPolicy?: string;
  readonly priorityClassName?: string;
  readonly nodeSelector: Record<string, string>;
  readonly tolerations?: unknown;
  readonly affinity?: unknown;
  readonly imagePullSecrets?: unknown;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: Record<string, unknown>;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly Volume[];
}

export interface Workload extends Manifest {
  readonly spec: {
    readonly replicas?: number;
    readonly strategy?: unknown;
    readonly updateStrategy?: unknown;
    readonly selector: { readonly matchLabels: Record<string, string> };
    readonly template: { readonly metadata: Omit<Metadata, "name">; readonly spec: PodSpec };
  };
}

export interface Service extends Manifest {
  readonly spec: {
    readonly type: string;
    readonly selector: Record<string, string>;
    readonly ports: readonly { name: string; port: number; targetPort: number }[];
  };
}

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

export interface Role extends Manifest {
  readonly rules: readonly Rule[];
}

export interface Binding extends Manifest {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
}

export const COMPONENTS = ["registry", "webhook", "controllers", "proxy"] as const;
export type Component = (typeof COMPONENTS)[number];

/** The objects of one rendering, found by kind and by the component that they belong to. */
export class Manifests {
  readonly all: readonly Manifest[];

  constructor(all: readonly Manifest[]) {
    this.all = all;
  }

  ofKind<Kind extends Manifest = Manifest>(kind: string): readonly Kind[] {
    return this.all.filter((manifest): manifest is Kind => manifest.kind === kind);
  }

  /** The only object of this kind, and of this component when one is named. */
  only<Kind extends Manifest = Manifest>(kind: string, component?: Component): Kind {
    const found = this.ofKind<Kind>(kind).filter((one) => !component || componentOf(one) === component);
    const [first] = found;
    if (!first || found.length > 1)
      throw new Error(`${found.length} objects of kind ${kind} of ${component ?? "any component"}`);
    return first;
  }

  workloads(): readonly Workload[] {
    return this.all.filter((one): one is Workload =>
      ["Deployment", "DaemonSet", "StatefulSet", "Job"].includes(one.kind),
    );
  }

  workload(component: Component): Workload {
    return this.only<Workload>(component === "proxy" ? "DaemonSet" : "Deployment", component);
  }

  pod(component: Component): PodSpec {
    return this.workload(component).spec.template.spec;
  }

  container(component: Component): Container {
    const [first] = this.pod(component).containers;
    if (!first) throw new Error(`${component} has no container`);
    return first;
  }

  /** The component's configuration file, parsed. */
  config(component: Component): Record<string, unknown> {
    const map = this.only<Manifest & { data: Record<string, string> }>("ConfigMap", component);
    return parse(map.data["config.yaml"] ?? "") as Record<string, unknown>;
  }
}

export function componentOf({ metadata }: Manifest): string | undefined {
  return metadata.labels["app.kubernetes.io/component"];
}
