import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";
import { cacheRegistry } from "./uninstall.ts";

const DOMAIN = "cache-registry.enix.io";
const OUR_HOST = '[host."http://127.0.0.1:7439"]';
const PROXIES = "app.kubernetes.io/component=proxy";

/** Every file below a folder with its bytes. */
async function filesIn(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => [join(entry.parentPath, entry.name), entry.isFile()] as const);
  const texts = paths.map(
    async ([path, isFile]) => [path, isFile ? await readFile(path, "latin1") : "(folder)"] as const,
  );
  return Object.fromEntries(await Promise.all(texts));
}

/** What was on the node before the release. */
let before: Record<string, string> = {};

function stepsOf(scene: () => Scene) {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);
  const inNamespace = (...args: string[]) => kubectl("-n", scene().release.namespace, ...args);
  const daemonSet = async () => (await inNamespace("get", "daemonset", "-l", PROXIES, "-o", "name")).trim();

  async function starts(name: string, image: string): Promise<void> {
    await scene().apply(pod(name, image));
    const started = await scene().running(name);
    expect(started.spec.containers[0]?.image).toBe(image);
  }

  return { inNamespace, daemonSet, starts };
}

/** Mode mirror: the stage's own hosts.toml for docker.io stands for one that a user wrote. */
export function mirror(scene: () => Scene, values: () => Readonly<Record<string, unknown>>): void {
  const { inNamespace, daemonSet, starts } = stepsOf(scene);

  const readyz = async () => (await fetch(`http://${scene().stage.cluster.bridgeAddress}:8084/readyz?verbose`)).text();

  async function scaleRegistry(replicas: number): Promise<void> {
    const selector = "app.kubernetes.io/component=registry";
    await inNamespace("scale", "deployment", "-l", selector, `--replicas=${replicas}`);
    await waitUntil(`${replicas} registry pods`, async () => {
      const path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
      const ready = await inNamespace("get", "pods", "-l", selector, "-o", path);
      return ready === (replicas === 0 ? "" : "True") ? true : undefined;
    });
  }

  it("writes hosts.toml on the node: the proxy first, then what a user wrote, which is kept", async () => {
    const { certsDir } = scene().stage.cluster;
    before = await filesIn(certsDir);
    const usersFile = join(certsDir, "docker.io", "hosts.toml");
    expect(before[usersFile]).toContain(scene().stage.upstreamUrl);
    await scene().install({ values: values() });
    const after = await filesIn(certsDir);
    const hosts = [...(after[usersFile] ?? "").matchAll(/^\[host\..*\]$/gm)].map(([header]) => header);
    expect(hosts).toEqual([OUR_HOST, `[host."${scene().stage.upstreamUrl}"]`]);
    expect(after[`${usersFile}.before-cache-registry`]).toBe(before[usersFile]);
    expect(after[join(certsDir, "_default", "hosts.toml")]).toContain(OUR_HOST);
    // No pod has pulled anything yet: the probe pull has shown that containerd reads them.
    expect(await readyz()).toContain("[+] hosts.toml: ok\n[+] containerd: ok");
  });

  it("pulls a pod's image through the cache, leaves the pod as it is, and records the image", async () => {
    const { stage, release } = scene();
    await stage.publish({ repository: "library/mirror-a", tag: "1", layerBytes: 1 << 20 });
    stage.upstream.reset();
    await starts("mirror-a", "mirror-a:1");
    const { metadata } = await scene().pod("mirror-a");
    expect(metadata.labels?.[`${DOMAIN}/managed`]).toBe("true");
    expect(metadata.annotations?.[`${DOMAIN}/original-images`]).toBeUndefined();
    await waitUntil("the CachedImage to be Ready", async () => {
      const image = await scene().cachedImage("docker.io/library/mirror-a:1");
      return image?.status?.phase === "Ready" && image.status.usedBy?.count === 1 ? true : undefined;
    });
    expect(Object.values(scene().upstreamGets("library/mirror-a", "blobs"))).toEqual([1, 1, 1]);
    const tags = await fetch(`${await release.registryUrl()}/v2/docker.io/library/mirror-a/tags/list`);
    expect(await tags.json()).toMatchObject({ tags: ["1"] });
    expect(await readyz()).toContain("[+] hosts.toml: ok\n[+] containerd: ok");
  });

  it("starts a pod from the cache with the upstream off", async () => {
    const { stage, release } = scene();
    const image = "docker.io/library/mirror-warm:1";
    await stage.publish({ repository: "library/mirror-warm", tag: "1" });
    const path = `/images/${encodeURIComponent(image)}`;
    await release.management(path, { method: "PUT", body: {} });
    await waitUntil("the image to be warm", async () =>
      ((await release.management(path)).body as { state?: string }).state === "ready" ? true : undefined,
    );
    await stage.upstream.off();
    await starts("mirror-warm", "mirror-warm:1");
    expect((await scene().pod("mirror-warm")).status.phase).toBe("Running");
    await stage.upstream.on();
    await scene().deletePod("mirror-warm");
  });

  it("starts pods with the cache down, and with the proxy down as well", async () => {
    const { stage } = scene();
    for (const tag of ["1", "2"]) await stage.publish({ repository: "library/mirror-b", tag });
    await scaleRegistry(0);
    await starts("mirror-b1", "mirror-b:1");
    const nobody = (value: string) => `{"spec":{"template":{"spec":{"nodeSelector":{"e2e/nobody":${value}}}}}}`;
    await inNamespace("patch", await daemonSet(), "--type=strategic", "-p", nobody('"yes"'));
    await waitUntil("the proxy to be gone", async () =>
      (await inNamespace("get", "pods", "-l", PROXIES, "-o", "name")) === "" ? true : undefined,
    );
    stage.upstream.reset();
    await starts("mirror-b2", "mirror-b:2");
    expect(Object.keys(scene().upstreamGets("library/mirror-b", "blobs")).length).toBeGreaterThan(0);
    await inNamespace("patch", await daemonSet(), "--type=strategic", "-p", nobody("null"));
    await scaleRegistry(1);
    await inNamespace("rollout", "status", await daemonSet(), "--timeout=90s");
    for (const name of ["mirror-b1", "mirror-b2"]) await scene().deletePod(name);
  });
}

/** Comes last: nothing is left of the release. */
export function mirrorRemoved(scene: () => Scene): void {
  const { inNamespace, daemonSet, starts } = stepsOf(scene);

  it("restores the node's files byte by byte when the values no longer want them, and writes them again", async () => {
    const { certsDir } = scene().stage.cluster;
    const written = await filesIn(certsDir);
    expect(written).not.toEqual(before);
    await inNamespace("set", "env", await daemonSet(), "CREG_HOSTSTOML__ENABLED=false");
    await inNamespace("rollout", "status", await daemonSet(), "--timeout=90s");
    expect(await filesIn(certsDir)).toEqual(before);
    await inNamespace("set", "env", await daemonSet(), "CREG_HOSTSTOML__ENABLED-");
    await inNamespace("rollout", "status", await daemonSet(), "--timeout=90s");
    expect(await filesIn(certsDir)).toEqual(written);
  });

  it("leaves nothing on the node after uninstalling and the one command that the chart printed", async () => {
    const { stage, release } = scene();
    const [, words = ""] = /^ +npx cache-registry (restore .*)$/m.exec(await release.notes()) ?? [];
    await release.uninstall();
    await cacheRegistry(stage.cluster.kubeconfig, words.trim().split(/ +/));
    expect(await filesIn(stage.cluster.certsDir)).toEqual(before);
    expect(await inNamespace("get", "daemonsets", "-o", "name")).toBe("");
    await stage.publish({ repository: "library/mirror-c", tag: "1" });
    await starts("mirror-c", "mirror-c:1");
    await scene().deletePod("mirror-c");
  });
}
