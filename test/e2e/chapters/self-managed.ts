import { X509Certificate } from "node:crypto";
import { expect, it } from "vitest";
import { waitUntil } from "../../../hack/stage/objects.ts";
import { createConnectionSource } from "../../../packages/kube/src/kube-config.ts";
import { createTransport } from "../../../packages/kube/src/transport.ts";
import { log, type Scene } from "../scene.ts";
import { servedSerial } from "../served-certificate.ts";

/** A new authority is published for 10 s (a quarter of renewBefore) before anything is signed by it. */
export const SHORT_LIVED = { duration: "30m", renewBefore: "40s", caDuration: "1h" };

const WEBHOOK = "cache-registry-webhook";
const TLS_SECRET = "cache-registry-webhook-tls";
const CA_SECRET = "cache-registry-ca";

export function selfManaged(scene: () => Scene): void {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);
  const ours = (...args: string[]) => kubectl("-n", scene().release.namespace, ...args);
  const pods = ["pods", "-l", "app.kubernetes.io/component=webhook"];

  async function secret(name: string) {
    const { data } = JSON.parse(await ours("get", "secret", name, "-o", "json")) as { data: Record<string, string> };
    const text = (key: string) => Buffer.from(data[key] ?? "", "base64").toString();
    return { leaf: new X509Certificate(text("tls.crt")), authorities: text("ca.crt") };
  }
  const caBundle = async () =>
    Buffer.from(
      await kubectl(
        "get",
        "mutatingwebhookconfiguration",
        WEBHOOK,
        "-o",
        "jsonpath={.webhooks[0].clientConfig.caBundle}",
      ),
      "base64",
    ).toString();
  const webhookPods = async () =>
    (
      JSON.parse(await ours("get", ...pods, "-o", "json")) as {
        items: {
          metadata: { uid: string };
          status: { podIP: string; containerStatuses: { restartCount: number }[] };
        }[];
      }
    ).items;

  /** Pods that are created for show, one after the other; each is to be rewritten. */
  async function admissions(signal: AbortSignal): Promise<{ admitted: number; passedBy: unknown[] }> {
    const env = { KUBECONFIG: scene().stage.cluster.kubeconfig };
    const connections = createConnectionSource(env);
    const transport = createTransport({ connections, userAgent: "e2e-load", qps: 40 });
    const spec = { containers: [{ name: "main", image: "nginx:1" }] };
    const body = { apiVersion: "v1", kind: "Pod", metadata: { name: "for-show" }, spec };
    const passedBy: unknown[] = [];
    let admitted = 0;
    async function client(): Promise<void> {
      while (!signal.aborted) {
        const path = "/api/v1/namespaces/default/pods";
        const pod = await transport.request({ method: "POST", path, query: { dryRun: "All" }, body }).catch(String);
        const image = (pod as { spec?: typeof spec }).spec?.containers[0]?.image;
        if (image === "localhost:7439/docker.io/library/nginx:1") admitted += 1;
        else passedBy.push(image ?? pod);
      }
    }
    await Promise.all([client(), client(), client(), client()]);
    transport.close();
    return { admitted, passedBy };
  }

  it("are made by the controllers, which also speak HTTPS with the registry", async () => {
    expect(await kubectl("api-versions")).not.toContain("cert-manager.io");
    const [webhook, authority, registry] = await Promise.all(
      [TLS_SECRET, CA_SECRET, "cache-registry-registry-tls"].map(secret),
    );
    expect(webhook?.leaf.checkIssued(authority?.leaf ?? webhook.leaf)).toBe(true);
    expect(await caBundle()).toBe(authority?.authorities);
    expect(registry?.leaf.checkHost("cache-registry-registry")).toBe("cache-registry-registry");
    expect((await scene().release.management("/stats")).status).toBe(200);
    const url = await ours("get", "configmap", "cache-registry-controllers", "-o", "jsonpath={.data}");
    expect(url).toContain("https://cache-registry-registry:8081");
  });

  it("a caBundle that somebody overwrote is right again within seconds", async () => {
    const right = await caBundle();
    const wrong = Buffer.from(right.split("").reverse().join("")).toString("base64");
    const patch = [{ op: "replace", path: "/webhooks/0/clientConfig/caBundle", value: wrong }];
    // The API server itself refuses what is no PEM; nothing at all is a mistake that it takes.
    await kubectl("patch", "mutatingwebhookconfiguration", WEBHOOK, "--type=json", "-p", JSON.stringify(patch)).catch(
      () => undefined,
    );
    const removal = JSON.stringify([{ op: "remove", path: "/webhooks/0/clientConfig/caBundle" }]);
    await kubectl("patch", "mutatingwebhookconfiguration", WEBHOOK, "--type=json", "-p", removal);
    await waitUntil("the caBundle", async () => ((await caBundle()) === right ? true : undefined), {
      timeoutMs: 10_000,
    });
  });

  it("no pod passes by unseen while authority and certificate are replaced", async () => {
    const stopping = new AbortController();
    const loading = admissions(stopping.signal);
    try {
      const before = { pods: await webhookPods(), authority: (await secret(CA_SECRET)).leaf };
      await ours("delete", "secret", CA_SECRET);
      const { leaf } = await waitUntil("a certificate of the new authority", async () => {
        const [now, authority] = await Promise.all([secret(TLS_SECRET), secret(CA_SECRET).catch(() => undefined)]);
        if (!authority || authority.leaf.fingerprint256 === before.authority.fingerprint256) return undefined;
        return now.leaf.checkIssued(authority.leaf) ? now : undefined;
      });
      expect(await caBundle()).toContain(before.authority.toString().trim());
      // The kubelet looks at a Secret about once a minute, and at once when something about the pod changes.
      await ours("annotate", "--overwrite", ...pods, `e2e/look=${leaf.serialNumber}`);
      await waitUntil(
        "the new certificate to be served by both",
        async () => {
          const serials = await Promise.all(before.pods.map(({ status }) => servedSerial(status.podIP, 8443)));
          return serials.every((serial) => serial === leaf.serialNumber) ? true : undefined;
        },
        { timeoutMs: 120_000 },
      );
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      const restarts = (list: typeof before.pods) =>
        list.map(({ metadata, status }) => [metadata.uid, status.containerStatuses[0]?.restartCount]);
      expect(restarts(await webhookPods())).toEqual(restarts(before.pods));
    } finally {
      stopping.abort();
    }
    const { admitted, passedBy } = await loading;
    log(`${admitted} admissions while the authority and the certificate were replaced`);
    expect(passedBy.slice(0, 3)).toEqual([]);
    expect(admitted).toBeGreaterThan(50);
  }, 240_000);
}
