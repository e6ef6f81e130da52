/** One run of `go build`: programs of one module under hack/tools/go, pinned by its go.mod and go.sum. */
export interface Build {
  readonly name: string;
  /** Folder under hack/tools/go. */
  readonly module: string;
  /** Tool → package. */
  readonly programs: Readonly<Record<string, string>>;
  /** Tool-like name → folder of a required module, copied beside the programs. */
  readonly folders?: Readonly<Record<string, { readonly module: string; readonly path: string }>>;
  /** Measured on 2 cores with an empty build cache, after the builds before it. */
  readonly seconds: number;
  readonly tags?: string;
  readonly cgo?: boolean;
  readonly linkerVariables?: Readonly<Record<string, string>>;
}

const KUBERNETES = {
  module: "kubernetes",
  linkerVariables: {
    "k8s.io/component-base/version.gitVersion": "v1.36.3",
    "k8s.io/component-base/version.gitMajor": "1",
    "k8s.io/component-base/version.gitMinor": "36",
  },
};
const kubernetes = (...names: string[]) => Object.fromEntries(names.map((n) => [n, `k8s.io/kubernetes/cmd/${n}`]));
const containerd = (...names: string[]) =>
  Object.fromEntries(names.map((n) => [n, `github.com/containerd/containerd/v2/cmd/${n}`]));
const CNI = "github.com/containernetworking/plugins/plugins";

/** Every tool, in the order in which they are built: later builds reuse what earlier ones compiled. */
export const BUILDS: readonly Build[] = [
  { ...KUBERNETES, name: "kube-apiserver", programs: kubernetes("kube-apiserver", "kubectl"), seconds: 400 },
  { ...KUBERNETES, name: "kubelet", programs: kubernetes("kubelet"), seconds: 50 },
  {
    ...KUBERNETES,
    name: "kube-controller-manager",
    programs: kubernetes("kube-controller-manager", "kube-scheduler"),
    seconds: 30,
  },
  { ...KUBERNETES, name: "kube-proxy", programs: kubernetes("kube-proxy"), seconds: 8 },
  { name: "etcd", module: "etcd", programs: { etcd: "go.etcd.io/etcd/server/v3" }, seconds: 25 },
  {
    name: "containerd",
    module: "containerd",
    programs: containerd("containerd", "containerd-shim-runc-v2", "ctr"),
    seconds: 55,
  },
  // The runc of Debian 12 does not work with this containerd.
  {
    name: "runc",
    module: "runc",
    programs: { runc: "github.com/opencontainers/runc" },
    seconds: 12,
    tags: "seccomp",
    cgo: true,
  },
  {
    name: "cni",
    module: "cni",
    programs: {
      bridge: `${CNI}/main/bridge`,
      loopback: `${CNI}/main/loopback`,
      portmap: `${CNI}/meta/portmap`,
      "host-local": `${CNI}/ipam/host-local`,
    },
    seconds: 5,
  },
  {
    name: "crane",
    module: "crane",
    programs: { crane: "github.com/google/go-containerregistry/cmd/crane" },
    seconds: 5,
  },
  { name: "regctl", module: "regctl", programs: { regctl: "github.com/regclient/regclient/cmd/regctl" }, seconds: 5 },
  { name: "oras", module: "oras", programs: { oras: "oras.land/oras/cmd/oras" }, seconds: 15 },
  {
    name: "registry",
    module: "distribution",
    programs: { registry: "github.com/distribution/distribution/v3/cmd/registry" },
    seconds: 55,
  },
  {
    name: "versitygw",
    module: "versitygw",
    programs: { versitygw: "github.com/versity/versitygw/cmd/versitygw" },
    seconds: 106,
  },
  {
    name: "fake-gcs-server",
    module: "fake-gcs-server",
    programs: { "fake-gcs-server": "github.com/fsouza/fake-gcs-server" },
    seconds: 66,
  },
  {
    name: "cert-manager",
    module: "clients",
    programs: { "cert-manager": "./cert-manager" },
    folders: { "cert-manager-crds": { module: "github.com/cert-manager/cert-manager", path: "deploy/crds" } },
    seconds: 120,
  },
  { name: "coredns", module: "clients", programs: { coredns: "./coredns" }, seconds: 12 },
  {
    name: "helm",
    module: "clients",
    programs: { helm: "helm.sh/helm/v4/cmd/helm" },
    seconds: 25,
    linkerVariables: { "helm.sh/helm/v4/internal/version.version": "v4.3.1" },
  },
  {
    name: "kubeconform",
    module: "kubeconform",
    programs: { kubeconform: "github.com/yannh/kubeconform/cmd/kubeconform" },
    seconds: 7,
  },
  { name: "promql", module: "promql", programs: { promql: "./promql" }, seconds: 10 },
  // CustomResourceDefinitions of what the chart can talk to, for kubeconform.
  {
    name: "crds",
    module: "crds",
    programs: {},
    folders: {
      "flux-source-crds": { module: "github.com/fluxcd/source-controller", path: "config/crd/bases" },
      "gateway-api-crds": { module: "sigs.k8s.io/gateway-api", path: "config/crd/standard" },
      "istio-crds": { module: "istio.io/api", path: "kubernetes" },
      "prometheus-operator-crds": {
        module: "github.com/prometheus-operator/prometheus-operator",
        path: "example/prometheus-operator-crd",
      },
    },
    seconds: 5,
  },
  {
    name: "kwok",
    module: "kwok",
    programs: { kwok: "sigs.k8s.io/kwok/cmd/kwok" },
    // How simulated nodes and pods change.
    folders: { "kwok-stages": { module: "sigs.k8s.io/kwok", path: "kustomize/stage" } },
    seconds: 90,
  },
  { name: "image-programs", module: "images", programs: { pause: "./pause", probe: "./probe" }, seconds: 3 },
];

/** The names a build gives: its programs and copied folders. */
export function toolsOf(build: Build): string[] {
  return [...Object.keys(build.programs), ...Object.keys(build.folders ?? {})];
}

/** The file name `go build -o folder/` chooses for a package: its last path element that is not a major version. */
export function outputName(packagePath: string): string {
  const elements = packagePath.split("/");
  const last = elements.at(-1) ?? "";
  return /^v\d+$/.test(last) ? (elements.at(-2) ?? last) : last;
}
