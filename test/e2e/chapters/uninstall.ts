import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";
import { selfSigned } from "../self-signed.ts";

export function uninstall(scene: () => Scene): void {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);
  const webhooks = () => kubectl("get", "mutatingwebhookconfigurations", "-o", "name");

  it("leaves no webhook of ours; new pods start as written, rewritten ones through the proxy that stays", async () => {
    const { stage, release } = scene();
    await stage.publish({ repository: "library/staying", tag: "1" });
    await scene().apply(pod("staying", "staying:1"));
    await scene().running("staying");
    expect(await webhooks()).toContain("cache-registry");
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

  it("is finished by removing the proxy", async () => {
    const { namespace } = scene().release;
    await kubectl(
      "-n",
      namespace,
      "delete",
      "daemonset,configmap,serviceaccount,service",
      "-l",
      "app.kubernetes.io/name=cache-registry",
    );
    await waitUntil("the last pod to go", async () =>
      (await kubectl("-n", namespace, "get", "pods", "-o", "name")) === "" ? true : undefined,
    );
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
