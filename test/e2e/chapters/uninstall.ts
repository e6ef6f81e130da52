import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { deployment, type Pod, pod, waitUntil } from "../../../hack/stage/objects.ts";
import { eventually } from "../../support/eventually.ts";
import { typeReadme } from "../readme.ts";
import type { Scene } from "../scene.ts";
import { selfSigned } from "../self-signed.ts";

const run = promisify(execFile);

export function uninstall(scene: () => Scene): void {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);
  async function objectsIn(namespace: string): Promise<string[]> {
    const kinds = "daemonsets,deployments,jobs,services,configmaps,secrets,serviceaccounts,roles,rolebindings,leases";
    return (await kubectl("-n", namespace, "get", kinds, "-o", "name")).trim().split("\n").sort();
  }
  const webhooks = () => kubectl("get", "mutatingwebhookconfigurations", "-o", "name");

  it("leaves no webhook of ours; new pods start as written, rewritten ones through the proxy that stays", async () => {
    const { stage } = scene();
    await stage.publish({ repository: "library/staying", tag: "1" });
    await scene().apply(pod("staying", "staying:1"));
    await scene().running("staying");
    expect(await webhooks()).toContain("cache-registry");
    await typeReadme(scene(), "helm uninstall");
    expect(await webhooks()).not.toContain("cache-registry");

    await scene().apply(pod("fresh", "staying:1"));
    expect((await scene().running("fresh")).spec.containers[0]?.image).toBe("staying:1");
    await scene().deletePod("fresh");

    // A pod that was rewritten before, and must pull again now.
    const rewritten = (await scene().pod("staying")).spec.containers[0]?.image ?? "";
    await scene().deletePod("staying");
    await stage.cluster.removeImage(rewritten);
    await scene().apply(pod("left-over", rewritten));
    expect((await scene().running("left-over")).spec.containers[0]?.image).toBe(
      "localhost:7439/docker.io/library/staying:1",
    );
  });

  it("leaves nothing behind when the README's second command is run", async () => {
    const { name, namespace } = scene().release;
    const said = await typeReadme(scene(), "npx cache-registry restore");
    expect(said).toMatch(/0 pods evicted, 1 given their original images, 0 name the cache/);
    expect((await scene().running("left-over")).spec.containers[0]?.image).toBe("docker.io/library/staying:1");
    await scene().deletePod("left-over");
    const selector = `app.kubernetes.io/instance=${name}`;
    await waitUntil("the last pod to go", async () =>
      (await kubectl("-n", namespace, "get", "pods", "-o", "name")) === "" ? true : undefined,
    );
    // What belongs to a Deployment goes with it, some moments later.
    await eventually(async () => {
      expect(await objectsIn(namespace)).toEqual(["configmap/kube-root-ca.crt", "serviceaccount/default"]);
    }, 60_000);
    expect(await kubectl("get", "clusterroles,clusterrolebindings,crds", "-l", selector, "-o", "name")).toBe("");
    await kubectl("delete", "namespace", namespace, "--wait=true");
  });

  it("works under another release name and namespace, with an existing Secret for the certificate", async () => {
    const { stage } = scene();
    const [name, namespace] = ["blue", "images"];
    const { certificate, key } = await selfSigned(`${name}-cache-registry-webhook.${namespace}.svc`);
    await kubectl("create", "namespace", namespace);
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/tls",
      metadata: { name: "own-tls" },
      stringData: { "tls.crt": certificate, "tls.key": key },
    };
    await scene().apply(secret, namespace);
    await scene().install({
      name,
      namespace,
      values: {
        certificates: { existingSecret: "own-tls", caBundle: certificate },
        uninstall: { evictPods: true, timeout: "2m" },
      },
    });
    await stage.publish({ repository: "library/blue", tag: "1" });
    stage.upstream.reset();
    await scene().apply(pod("blue", "blue:1"));
    expect((await scene().running("blue")).spec.containers[0]?.image).toBe("localhost:7439/docker.io/library/blue:1");
    await waitUntil("Ready", async () =>
      (await scene().cachedImage("docker.io/library/blue:1"))?.status?.phase === "Ready" ? true : undefined,
    );
    expect(Object.values(scene().upstreamGets("library/blue", "blobs")).every((requests) => requests === 1)).toBe(true);
    await scene().deletePod("blue");
  });

  it("evicts the pods that name the cache when the values say so, and leaves nothing behind at all", async () => {
    const { release } = scene();
    await scene().apply(deployment("green", "blue:1"));
    const imageOf = async () => {
      const pods = JSON.parse(await kubectl("get", "pods", "-l", "app=green", "-o", "json")) as { items: Pod[] };
      const [first, ...more] = pods.items.filter(({ status }) => status.phase === "Running");
      return more.length === 0 ? first?.spec.containers[0]?.image : undefined;
    };
    await waitUntil("the rewritten pod to run", async () =>
      (await imageOf())?.startsWith("localhost:7439/") ? true : undefined,
    );
    await release.uninstall();
    // Evicted and made anew as its template is written.
    await waitUntil("the pod to run as written", async () => ((await imageOf()) === "blue:1" ? true : undefined));
    await kubectl("delete", "deployment", "green", "--wait=true");
    await waitUntil("the last pod to go", async () =>
      (await kubectl("-n", release.namespace, "get", "pods", "-o", "name")) === "" ? true : undefined,
    );
    const user = ["configmap/kube-root-ca.crt", "secret/own-tls", "serviceaccount/default"];
    await eventually(async () => expect(await objectsIn(release.namespace)).toEqual(user), 60_000);
    const cluster = await kubectl(
      "get",
      "clusterroles,clusterrolebindings,crds,mutatingwebhookconfigurations",
      "-o",
      "name",
    );
    expect(
      cluster.split("\n").filter((object) => object.includes("cache-registry") || object.includes("cachedimages")),
    ).toEqual([]);
  });
}

/** Our program as `npx cache-registry` runs it, with the rights of the kubeconfig. */
export async function cacheRegistry(kubeconfig: string, args: readonly string[]): Promise<string> {
  const main = fileURLToPath(new URL("../../../packages/cli/src/main.ts", import.meta.url));
  const { stdout } = await run(process.execPath, [main, ...args], { env: { ...process.env, KUBECONFIG: kubeconfig } });
  return stdout;
}
