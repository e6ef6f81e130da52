import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";
import { selfSigned } from "../self-signed.ts";

export function uninstall(scene: () => Scene): void {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);
  let finishing = "";
  const webhooks = () => kubectl("get", "mutatingwebhookconfigurations", "-o", "name");

  it("leaves no webhook of ours; new pods start as written, rewritten ones through the proxy that stays", async () => {
    const { stage, release } = scene();
    await stage.publish({ repository: "library/staying", tag: "1" });
    await scene().apply(pod("staying", "staying:1"));
    await scene().running("staying");
    expect(await webhooks()).toContain("cache-registry");
    finishing = await release.notes();
    await release.uninstall();
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
    await scene().deletePod("left-over");
  });

  it("leaves nothing behind when the commands that the chart printed are run", async () => {
    const { name, namespace } = scene().release;
    const commands = [...finishing.matchAll(/^ +kubectl (.* ?delete .*)$/gm)].map(([, command = ""]) =>
      command.trim().split(/ +/),
    );
    expect(commands).toHaveLength(2);
    for (const command of commands) await kubectl(...command);
    const selector = `app.kubernetes.io/instance=${name}`;
    await waitUntil("the last pod to go", async () =>
      (await kubectl("-n", namespace, "get", "pods", "-o", "name")) === "" ? true : undefined,
    );
    const kinds = "daemonsets,deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,leases";
    const left = await kubectl("-n", namespace, "get", kinds, "-o", "name");
    expect(left.trim().split("\n").sort()).toEqual(["configmap/kube-root-ca.crt", "serviceaccount/default"]);
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
      values: { certificates: { existingSecret: "own-tls", caBundle: certificate } },
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
}
