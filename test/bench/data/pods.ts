/*
 * Pods as clusters have them: a web application with sidecars, probes, variables, projected tokens and what the API server
 * and other admission plugins have filled in by the time that webhooks see it.
 */

type Json = Readonly<Record<string, unknown>>;

const TOLERATIONS = ["not-ready", "unreachable"].map((taint) => ({
  key: `node.kubernetes.io/${taint}`,
  operator: "Exists",
  effect: "NoExecute",
  tolerationSeconds: 300,
}));

const TOKEN = {
  name: "kube-api-access-x7k2p",
  projected: {
    defaultMode: 420,
    sources: [
      { serviceAccountToken: { path: "token", expirationSeconds: 3607 } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      {
        downwardAPI: {
          items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
        },
      },
    ],
  },
};

function probe(path: string): Json {
  return {
    httpGet: { path, port: 8080, scheme: "HTTP" },
    initialDelaySeconds: 5,
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  };
}

const PROBES = { livenessProbe: probe("/livez"), readinessProbe: probe("/readyz") };

function container(name: string, image: string, variables: number): Json {
  const env = Array.from({ length: variables }, (_, index) => ({
    name: `SETTING_${index}`,
    ...(index % 4 === 0
      ? { valueFrom: { secretKeyRef: { name: "settings", key: `key-${index}` } } }
      : { value: `https://service-${index}.shop.svc.cluster.local:8443/api/v1/resources?limit=500` }),
  }));
  return {
    name,
    image,
    imagePullPolicy: "IfNotPresent",
    env,
    ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }],
    resources: { limits: { cpu: "1", memory: "512Mi" }, requests: { cpu: "100m", memory: "256Mi" } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
    },
    volumeMounts: [
      { name: "config", mountPath: "/etc/app", readOnly: true },
      { name: "tmp", mountPath: "/tmp" },
      { name: TOKEN.name, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount", readOnly: true },
    ],
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
  };
}

/** A pod with one container, 3 KB of JSON: an API server has far more work with a pod than we have. */
export function smallPod(index: number): Json {
  const pod = realisticPod(index);
  const spec = pod.spec as Json;
  return { ...pod, spec: { ...spec, initContainers: [], containers: [container("app", imageOf(index), 6)] } };
}

function imageOf(index: number): string {
  return `ghcr.io/shop/service-${index % 50}:v1.${index % 20}.${index % 7}`;
}

/** The pod number `index` of a ReplicaSet's: 1 to 4 containers, 4 to 15 KB of JSON. */
export function realisticPod(index: number): Json {
  const sidecars = ["istio/proxyv2:1.27.1", "quay.io/prometheus/agent:v2.4", "ghcr.io/fluent/fluent-bit:4.1"];
  const containers = [
    container("app", imageOf(index), 10 + (index % 3) * 10),
    ...sidecars.slice(0, index % 4).map((image, at) => container(`sidecar-${at}`, image, 8)),
  ].map((one) => ({ ...one, ...PROBES }));
  const initContainers = index % 2 === 0 ? [container("migrate", "migrate/migrate:v4.19", 4)] : [];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      generateName: `service-${index % 50}-6d5f9c7b8-`,
      namespace: "default",
      labels: { app: `service-${index % 50}`, "pod-template-hash": "6d5f9c7b8", team: "shop" },
      annotations: { "prometheus.io/scrape": "true", "checksum/config": "4f".repeat(32) },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: `service-${index % 50}-6d5f9c7b8`,
          uid: "7c1e5a0e-9a4d-4f53-9b39-0d3d0a2a7f10",
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      containers,
      ...(initContainers.length > 0 ? { initContainers } : {}),
      volumes: [{ name: "config", configMap: { name: "app", defaultMode: 420 } }, { name: "tmp", emptyDir: {} }, TOKEN],
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      serviceAccountName: "app",
      automountServiceAccountToken: true,
      securityContext: { runAsUser: 1000, fsGroup: 1000, seccompProfile: { type: "RuntimeDefault" } },
      schedulerName: "default-scheduler",
      tolerations: TOLERATIONS,
      enableServiceLinks: true,
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: "topology.kubernetes.io/zone",
          whenUnsatisfiable: "ScheduleAnyway",
          labelSelector: { matchLabels: { app: `service-${index % 50}` } },
        },
      ],
    },
  };
}

/** What the API server posts for that pod: it has added the fields' managers. */
export function realisticReview(index: number): Json {
  const pod = realisticPod(index);
  const paths = (value: unknown): Json =>
    typeof value === "object" && value !== null
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [`f:${key}`, paths(item)]))
      : {};
  const managedFields = [
    {
      manager: "kube-controller-manager",
      operation: "Update",
      apiVersion: "v1",
      time: "2026-11-21T10:00:00Z",
      fieldsType: "FieldsV1",
      fieldsV1: paths({ metadata: pod.metadata, spec: pod.spec }),
    },
  ];
  return {
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: `705ab4f5-6393-11e8-b7cc-${String(index).padStart(12, "0")}`,
      kind: { group: "", version: "v1", kind: "Pod" },
      resource: { group: "", version: "v1", resource: "pods" },
      requestKind: { group: "", version: "v1", kind: "Pod" },
      requestResource: { group: "", version: "v1", resource: "pods" },
      namespace: "default",
      operation: "CREATE",
      userInfo: {
        username: "system:serviceaccount:kube-system:replicaset-controller",
        uid: "b2b1d9a1-1e8f-4bd4-a5cd-3f3c5b1f5b1c",
        groups: ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
      },
      object: { ...pod, metadata: { ...(pod.metadata as Json), managedFields }, status: {} },
      oldObject: null,
      dryRun: false,
      options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1" },
    },
  };
}
