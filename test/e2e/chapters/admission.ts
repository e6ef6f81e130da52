import { expect, it } from "vitest";
import { container, pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

const DOMAIN = "cache-registry.enix.io";
const DIGEST = `sha256:${"a".repeat(64)}`;
const HELD = { schedulingGates: [{ name: "e2e/held" }] };

/** Pods here need not start: a scheduling gate keeps them from it. Their images need not exist. */
export function admission(scene: () => Scene): void {
  async function admitted(name: string, image: string, options: Parameters<typeof pod>[2] = {}) {
    await scene().apply(pod(name, image, { ...options, spec: { ...HELD, ...options?.spec } }));
    const result = await scene().pod(name);
    await scene().deletePod(name);
    return result;
  }
  const annotation = (of: Awaited<ReturnType<typeof admitted>>, name: string) => {
    const text = of.metadata.annotations?.[`${DOMAIN}/${name}`];
    return text === undefined ? undefined : (JSON.parse(text) as Record<string, string>);
  };

  it.each([
    ["short", "nginx", "localhost:7439/docker.io/library/nginx"],
    ["tag", "nginx:1.27", "localhost:7439/docker.io/library/nginx:1.27"],
    ["digest", `ghcr.io/acme/app@${DIGEST}`, `localhost:7439/ghcr.io/acme/app@${DIGEST}`],
    ["both", `ghcr.io/acme/app:v1@${DIGEST}`, `localhost:7439/ghcr.io/acme/app:v1@${DIGEST}`],
    ["port", "harbor.example.com:5000/team/app:1", "localhost:7439/harbor.example.com_5000/team/app:1"],
  ])("rewrites a reference: %s", async (name, image, expected) => {
    const result = await admitted(`admit-${name}`, image);
    expect(result.spec.containers[0]?.image).toBe(expected);
    expect(result.metadata.labels?.[`${DOMAIN}/managed`]).toBe("true");
    expect(annotation(result, "original-images")).toEqual({ main: image });
  });

  it("rewrites init containers and every container, and leaves the rest of the spec alone", async () => {
    const spec = {
      containers: [container("main", "nginx:1", { args: ["--x"] }), container("side", "redis:7")],
      initContainers: [container("prepare", "busybox:1")],
    };
    const result = await admitted("admit-all", "ignored", { spec });
    expect(result.spec.containers.map(({ image }) => image)).toEqual([
      "localhost:7439/docker.io/library/nginx:1",
      "localhost:7439/docker.io/library/redis:7",
    ]);
    expect(result.spec.containers[0]).toMatchObject({ args: ["--x"], imagePullPolicy: "IfNotPresent" });
    expect(result.spec.initContainers?.[0]?.image).toBe("localhost:7439/docker.io/library/busybox:1");
    expect(annotation(result, "original-images")).toEqual({ main: "nginx:1", side: "redis:7", prepare: "busybox:1" });
  });

  it.each([
    ["pull secrets", "private", { spec: { imagePullSecrets: [{ name: "any" }] } }, "nginx:1"],
    [
      "policy Never",
      "never",
      { spec: { containers: [container("main", "nginx:1", { imagePullPolicy: "Never" })] } },
      "nginx:1",
    ],
    ["node credentials", "private", {}, "123.dkr.ecr.eu-west-1.amazonaws.com/app:1"],
    ["an unknown dotless host", "invalid", {}, "registry:5000/app:1"],
    ["an upper-case repository", "invalid", {}, "docker.io/Library/Nginx:1"],
  ])("leaves alone with a reason: %s", async (_what, reason, options, image) => {
    const result = await admitted("admit-skip", image, options);
    expect(result.spec.containers[0]?.image).toBe(image);
    expect(annotation(result, "skipped-images")).toEqual({ main: reason });
    expect(result.metadata.labels?.[`${DOMAIN}/managed`]).toBeUndefined();
  });

  it("leaves pods of operators alone", async () => {
    const owner = {
      apiVersion: "postgresql.cnpg.io/v1",
      kind: "Cluster",
      name: "db",
      uid: "8d6fe1c4-0000-4000-8000-000000000000",
      controller: true,
    };
    const operated = pod("admit-operator", "nginx:1", { spec: HELD }) as { metadata: object };
    const { kubectl } = scene().stage.cluster;
    // Not stored: its owner does not exist, so the garbage collector would race with the test.
    const review = await kubectl(["create", "--dry-run=server", "-o", "json", "-f", "-"], {
      input: JSON.stringify({ ...operated, metadata: { ...operated.metadata, ownerReferences: [owner] } }),
    });
    expect(annotation(JSON.parse(review), "skipped-images")).toEqual({ main: "owner" });
  });

  it("gives no patch at all to an opted-out pod, and to one left out by the values' objectSelector", async () => {
    for (const label of [`${DOMAIN}/image-caching-policy=ignore`, "e2e/left-out=yes"]) {
      const [key = "", value = ""] = label.split("=");
      const result = await admitted("admit-out", "nginx:1", { labels: { [key]: value } });
      expect(result.spec.containers[0]?.image).toBe("nginx:1");
      expect(Object.keys(result.metadata.annotations ?? {}).filter((name) => name.startsWith(DOMAIN))).toEqual([]);
    }
  });

  it("leaves namespaces alone: the release's own, those the cluster needs, and one that opted out", async () => {
    const { kubectl } = scene().stage.cluster;
    await kubectl(["create", "namespace", "opted-out"]);
    const imageIn = async (namespace: string) => {
      const input = JSON.stringify(pod("admit-namespace", "nginx:1", { spec: HELD }));
      const args = ["-n", namespace, "create", "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}"];
      return kubectl([...args, "-f", "-"], { input });
    };
    expect(await imageIn("opted-out")).toBe("localhost:7439/docker.io/library/nginx:1");
    await kubectl(["label", "namespace", "opted-out", `${DOMAIN}/image-caching-policy=ignore`]);
    // The API server's copy of the namespace's labels may be a moment behind.
    await waitUntil("the opt-out to be seen", async () =>
      (await imageIn("opted-out")) === "nginx:1" ? true : undefined,
    );
    for (const namespace of [scene().release.namespace, "kube-system"]) {
      expect(await imageIn(namespace), namespace).toBe("nginx:1");
    }
    await kubectl(["delete", "namespace", "opted-out", "--wait=false"]);
  });

  it("knows pods with generateName, and a second admission changes nothing", async () => {
    const { kubectl } = scene().stage.cluster;
    const generated = pod("x", "nginx:1", { spec: HELD }) as { metadata: object };
    const input = JSON.stringify({ ...generated, metadata: { generateName: "admit-gen-" } });
    const created = JSON.parse(await kubectl(["create", "-o", "json", "-f", "-"], { input }));
    expect(created.spec.containers[0].image).toBe("localhost:7439/docker.io/library/nginx:1");
    const again = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...created.metadata, name: "admit-again" },
      spec: created.spec,
    };
    for (const field of ["uid", "resourceVersion", "creationTimestamp", "generateName", "managedFields"])
      delete again.metadata[field];
    const second = JSON.parse(
      await kubectl(["create", "--dry-run=server", "-o", "json", "-f", "-"], { input: JSON.stringify(again) }),
    );
    expect(second.spec.containers).toEqual(created.spec.containers);
    expect(second.metadata.annotations).toEqual(created.metadata.annotations);
    expect(second.metadata.labels).toEqual(created.metadata.labels);
    await scene().deletePod(created.metadata.name);
  });

  it("rewrites ephemeral containers of kubectl debug", async () => {
    await scene().stage.publish({ repository: "library/debugged", tag: "1" });
    await scene().apply(pod("debugged", "debugged:1"));
    await scene().running("debugged");
    await scene().stage.cluster.kubectl([
      "debug",
      "debugged",
      "--image=debugged:1",
      "--container=look",
      "--profile=restricted",
    ]);
    const result = await waitUntil("the ephemeral container", async () => {
      const found = await scene().pod("debugged");
      return found.spec.ephemeralContainers?.length ? found : undefined;
    });
    expect(result.spec.ephemeralContainers?.[0]).toMatchObject({
      name: "look",
      image: "localhost:7439/docker.io/library/debugged:1",
    });
    await scene().deletePod("debugged");
  });
}
