import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { waitFor } from "./components.ts";
import type { ClusterContext } from "./context.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { API_SERVER, ETCD, type Layout, NETWORK } from "./layout.ts";
import type { KeyPair, Pki, Subject } from "./pki.ts";

const ISSUER = `https://kubernetes.default.svc.${NETWORK.domain}`;

/** Starts etcd and the API server, and answers when the API server is ready. */
export async function startApiServer(context: ClusterContext): Promise<void> {
  const { layout, pki, start } = context;
  const etcd = start("etcd", [
    `--data-dir=${layout.etcd}`,
    `--listen-client-urls=${ETCD.client}`,
    `--advertise-client-urls=${ETCD.client}`,
    `--listen-peer-urls=${ETCD.peer}`,
    `--initial-advertise-peer-urls=${ETCD.peer}`,
    `--initial-cluster=default=${ETCD.peer}`,
    // The data lives no longer than the run.
    "--unsafe-no-fsync",
    "--log-level=warn",
  ]);
  const serving = await pki.server("kube-apiserver", [
    ...["kubernetes", "kubernetes.default", "kubernetes.default.svc", `kubernetes.default.svc.${NETWORK.domain}`].map(
      (name) => `DNS:${name}`,
    ),
    ...["DNS:localhost", "IP:127.0.0.1", `IP:${NETWORK.address}`, `IP:${NETWORK.apiServerAddress}`],
  ]);
  const toKubelet = await pki.client("kube-apiserver-kubelet-client", {
    user: "kube-apiserver-kubelet-client",
    group: "system:masters",
  });
  const admin = await pki.client("admin", { user: "admin", group: "system:masters" });
  const apiServer = start("kube-apiserver", [
    `--etcd-servers=${ETCD.client}`,
    "--bind-address=0.0.0.0",
    "--secure-port=6443",
    // Becomes the endpoint of Service `kubernetes`; a loopback address is refused as one.
    `--advertise-address=${NETWORK.address}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
    `--service-cluster-ip-range=${NETWORK.serviceSubnet}`,
    "--enable-aggregator-routing",
    "--kubelet-preferred-address-types=InternalIP",
    `--tls-cert-file=${serving.certFile}`,
    `--tls-private-key-file=${serving.keyFile}`,
    `--client-ca-file=${pki.ca.certFile}`,
    `--kubelet-client-certificate=${toKubelet.certFile}`,
    `--kubelet-client-key=${toKubelet.keyFile}`,
    `--service-account-key-file=${pki.serviceAccountKey}`,
    `--service-account-signing-key-file=${pki.serviceAccountKey}`,
    `--service-account-issuer=${ISSUER}`,
  ]);
  await writeKubeconfig({ file: layout.kubeconfig, server: API_SERVER, pki, client: admin });
  const get = await apiServerGet(pki, admin);
  await waitFor(async () => (await get("/readyz")) === 200, {
    what: "kube-apiserver ready",
    components: [etcd, apiServer],
  });
}

/** Starts what turns Deployments into pods and puts pods on the node. */
export async function startControllers(context: ClusterContext): Promise<void> {
  const { layout, pki, start } = context;
  const controllerManager = await componentKubeconfig(layout, pki, { user: "system:kube-controller-manager" });
  start("kube-controller-manager", [
    `--kubeconfig=${controllerManager}`,
    "--bind-address=127.0.0.1",
    "--leader-elect=false",
    "--use-service-account-credentials",
    // With it, a rollout that began seconds after another stood still for minutes in half of the runs.
    "--feature-gates=StaleControllerConsistencyDaemonSet=false",
    `--service-account-private-key-file=${pki.serviceAccountKey}`,
    `--root-ca-file=${pki.ca.certFile}`,
    `--cluster-signing-cert-file=${pki.ca.certFile}`,
    `--cluster-signing-key-file=${pki.ca.keyFile}`,
  ]);
  const scheduler = await componentKubeconfig(layout, pki, { user: "system:kube-scheduler" });
  start("kube-scheduler", [`--kubeconfig=${scheduler}`, "--bind-address=127.0.0.1", "--leader-elect=false"]);
}

/** A kubeconfig with a certificate of its own, named after the user. */
export async function componentKubeconfig(layout: Layout, pki: Pki, subject: Subject): Promise<string> {
  const name = subject.user.replaceAll(":", "-");
  const file = join(layout.pki, `${name}.kubeconfig`);
  return writeKubeconfig({ file, server: API_SERVER, pki, client: await pki.client(name, subject) });
}

async function apiServerGet(pki: Pki, client: KeyPair): Promise<(path: string) => Promise<number | undefined>> {
  const [ca, cert, key] = await Promise.all([pki.ca.certFile, client.certFile, client.keyFile].map((f) => readFile(f)));
  return (path) =>
    new Promise((resolve, reject) => {
      const asking = request(`${API_SERVER}${path}`, { ca, cert, key, agent: false, timeout: 2_000 }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asking.once("timeout", () => asking.destroy(new Error("no answer within 2 s")));
      asking.once("error", reject);
      asking.end();
    });
}
