import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";
import { servedSerial } from "../served-certificate.ts";

interface Secret {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
}

export function certificate(scene: () => Scene): void {
  it("is reloaded without a restart when the Secret changes", async () => {
    const { stage, release } = scene();
    const { kubectl } = stage.cluster;
    const inNamespace = ["-n", release.namespace];
    const selector = ["-l", "app.kubernetes.io/component=webhook"];
    const host = await kubectl([
      ...inNamespace,
      "get",
      "service",
      ...selector,
      "-o",
      "jsonpath={.items[0].spec.clusterIP}",
    ]);
    const pods = () =>
      kubectl([
        ...inNamespace,
        "get",
        "pods",
        ...selector,
        "-o",
        "jsonpath={.items[*].metadata.uid} {.items[*].status.containerStatuses[*].restartCount}",
      ]);
    const volumes = await kubectl([
      ...inNamespace,
      "get",
      "pods",
      ...selector,
      "-o",
      "jsonpath={.items[0].spec.volumes[*].secret.secretName}",
    ]);
    const before = { serial: await servedSerial(host, 443), pods: await pods() };
    const secret = async () =>
      JSON.parse(await kubectl([...inNamespace, "get", "secret", volumes.trim(), "-o", "json"])) as Secret;
    const old = await secret();
    // The default: cert-manager is there, so the chart leaves certificates to it.
    expect(old.metadata.annotations?.["cert-manager.io/certificate-name"]).toBe("cache-registry-webhook");
    // cert-manager makes a new one at once.
    await kubectl([...inNamespace, "delete", "secret", volumes.trim()]);
    await waitUntil("a new certificate", async () => {
      const made = await secret().catch(() => undefined);
      return made?.data?.["tls.crt"] && made.data["tls.crt"] !== old.data?.["tls.crt"] ? true : undefined;
    });
    // The kubelet looks at a Secret about once a minute, and at once when something about the pod changes.
    await kubectl([...inNamespace, "annotate", "--overwrite", "pods", ...selector, `e2e/look=${before.serial}`]);
    await waitUntil(
      "the new certificate to be served",
      async () => ((await servedSerial(host, 443)) !== before.serial ? true : undefined),
      {
        timeoutMs: 180_000,
        intervalMs: 1_000,
      },
    );
    expect(await pods()).toBe(before.pods);
    await scene().apply(pod("after-rotation", "nginx:1", { spec: { schedulingGates: [{ name: "e2e/held" }] } }));
    expect((await scene().pod("after-rotation")).spec.containers[0]?.image).toBe(
      "localhost:7439/docker.io/library/nginx:1",
    );
    await scene().deletePod("after-rotation");
  }, 240_000);
}
