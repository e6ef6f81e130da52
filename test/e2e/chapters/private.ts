import { afterAll, beforeAll, expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import { type CachedImage, onNode, type Scene } from "../scene.ts";

const IMAGE = "docker.io/vault/app:1";
const SECRET = "the-password-of-the-vault";
const AUTHORIZATION = `Basic ${Buffer.from(`robot:${SECRET}`).toString("base64")}`;
const PULL_SECRETS = [{ name: "pull" }];

function pullSecret(): object {
  const auths = { "https://index.docker.io/v1/": { username: "robot", password: SECRET } };
  const data = { ".dockerconfigjson": Buffer.from(JSON.stringify({ auths })).toString("base64") };
  const metadata = { name: "pull" };
  return { apiVersion: "v1", kind: "Secret", metadata, type: "kubernetes.io/dockerconfigjson", data };
}

/** Its release is its own: namespaces must be there before they can be shared. */
export function privateImages(scene: () => Scene): void {
  const conditionOf = (image: CachedImage | undefined) =>
    image?.status?.conditions?.find(({ type }) => type === "PullSecrets");
  const until = (name: string, namespace: string, phase: string) =>
    waitUntil(`pod ${namespace}/${name} to be ${phase}`, async () => {
      const found = await scene().pod(name, namespace);
      return found.status.phase === phase ? found : undefined;
    });

  beforeAll(async () => {
    const { stage } = scene();
    await stage.publish({ repository: "vault/app", tag: "1", layerBytes: 4 << 20 });
    for (const namespace of ["shared", "elsewhere"]) {
      await stage.cluster.kubectl(["create", "namespace", namespace]);
      await scene().apply(pullSecret(), namespace);
      const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "puller" } };
      await scene().apply({ ...account, imagePullSecrets: PULL_SECRETS }, namespace);
    }
    await scene().install({
      values: {
        upstreams: [{ registry: "docker.io", endpoints: [stage.upstreamUrl] }],
        privateImages: { mode: "share", namespaces: ["shared"] },
      },
    });
    // Whatever else the chapters before and this upgrade have stirred up: the webhook knows the namespace and trusts the cache.
    const probe = JSON.stringify(pod("probe", "vault/app:1", { spec: { imagePullSecrets: PULL_SECRETS } }));
    const dryRun = [
      "-n",
      "shared",
      "create",
      "--dry-run=server",
      "-f",
      "-",
      "-o",
      "jsonpath={.spec.containers[0].image}",
    ];
    await waitUntil("private images to be rewritten", async () =>
      (await stage.cluster.kubectl(dryRun, { input: probe })).startsWith("localhost:7439/") ? true : undefined,
    );
    stage.upstream.reset();
    stage.upstream.refuse({
      status: 401,
      headers: { "www-authenticate": 'Basic realm="vault"' },
      pathMatch: /^\/v2\/vault\//,
      unlessAuthorization: AUTHORIZATION,
    });
  }, 240_000);
  afterAll(() => scene().stage.upstream.refuse(undefined));

  it("come through the cache in a shared namespace, with the ServiceAccount's pull secret", async () => {
    const [first] = scene().stage.cluster.nodes;
    const spec = { serviceAccountName: "puller", ...onNode(first?.name ?? "") };
    await scene().apply(pod("private", "vault/app:1", { spec }), "shared");
    const started = await until("private", "shared", "Running");
    expect(started.spec.containers[0]?.image).toBe(`localhost:7439/${IMAGE}`);
    const image = await scene().ready(IMAGE);
    expect(image.spec.pullSecrets).toEqual([{ namespace: "shared", name: "pull" }]);
    expect(conditionOf(image)).toMatchObject({ status: "True", reason: "HandedOver" });
  });

  it("are cached then: the other node starts one with the upstream off", async () => {
    const { stage } = scene();
    const second = stage.cluster.nodes.at(-1);
    await stage.upstream.off();
    try {
      const spec = { imagePullSecrets: PULL_SECRETS, ...onNode(second?.name ?? "") };
      await scene().apply(pod("warm", "vault/app:1", { spec }), "shared");
      const { spec: started } = await until("warm", "shared", "Running");
      expect(started.nodeName).toBe(second?.name);
    } finally {
      await stage.upstream.on();
    }
  });

  it("are left alone elsewhere, and the node pulls with the pod's own secret", async () => {
    await scene().apply(pod("own", "vault/app:1", { spec: { serviceAccountName: "puller" } }), "elsewhere");
    const started = await until("own", "elsewhere", "Running");
    expect(started.spec.containers[0]?.image).toBe("vault/app:1");
    const skipped = started.metadata.annotations?.["cache-registry.enix.io/skipped-images"] ?? "{}";
    expect(JSON.parse(skipped)).toEqual({ main: "private" });
  });

  it("leave their credentials in no object and no log", async () => {
    const { kubectl } = scene().stage.cluster;
    const { namespace } = scene().release;
    const objects = await kubectl(["get", "cachedimages,events,pods,configmaps", "-A", "-o", "json"]);
    const logs = ["registry", "controllers", "proxy", "webhook"].map((component) =>
      kubectl(["-n", namespace, "logs", "-l", `app.kubernetes.io/component=${component}`, "--tail=-1"]),
    );
    for (const text of [objects, ...(await Promise.all(logs))]) {
      expect(text).not.toContain(SECRET);
      expect(text).not.toContain(AUTHORIZATION);
    }
  });
}
