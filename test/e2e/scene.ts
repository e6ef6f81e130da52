/** What the chapters share: one cluster, one release, the stand-in for docker.io. */

import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { type Pod, waitUntil } from "../../hack/stage/objects.ts";
import { installRelease, type Release, type ReleaseOptions } from "../../hack/stage/release.ts";
import { openStage, type Stage, type StageOptions } from "../../hack/stage/stage.ts";

export interface Scene {
  readonly stage: Stage;
  readonly release: Release;
  install(options?: Omit<ReleaseOptions, "stage">): Promise<Release>;
  apply(object: object, namespace?: string): Promise<void>;
  pod(name: string, namespace?: string): Promise<Pod>;
  running(name: string): Promise<Pod>;
  deletePod(name: string): Promise<void>;
  cachedImages(): Promise<CachedImage[]>;
  cachedImage(sourceImage: string): Promise<CachedImage | undefined>;
  /** Waits until the CachedImage is Ready. */
  ready(sourceImage: string): Promise<CachedImage>;
  /** GETs of blobs and manifests of a repository below docker.io since the counters were reset: path → requests. */
  upstreamGets(repository: string, kind: "blobs" | "manifests"): Record<string, number>;
  close(): Promise<void>;
}

export interface CachedImage {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly sourceImage: string; readonly pullSecrets?: readonly object[] };
  readonly status?: {
    readonly phase?: string;
    readonly digest?: string;
    readonly size?: number;
    readonly usedBy?: { readonly count?: number };
    readonly unusedSince?: string;
    readonly expiresAt?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  };
}

/** Spec of a pod that runs on this node. */
export function onNode(name: string): object {
  return { nodeSelector: { "kubernetes.io/hostname": name } };
}

export function log(line: string): void {
  process.stdout.write(`    · ${line}\n`);
}

/** What our pods said, for whoever has to find out why a chapter failed. */
async function keepLogs({ cluster }: Stage, { name, namespace }: Pick<Release, "name" | "namespace">): Promise<void> {
  const file = basename(expect.getState().testPath ?? "", ".test.ts");
  const folder = join(fileURLToPath(new URL("../../test-results/e2e", import.meta.url)), file);
  await mkdir(folder, { recursive: true });
  for (const component of ["registry", "webhook", "controllers", "proxy"]) {
    const selector = `app.kubernetes.io/instance=${name},app.kubernetes.io/component=${component}`;
    const text = await cluster
      .kubectl(["-n", namespace, "logs", "-l", selector, "--tail=-1", "--prefix"])
      .catch(String);
    await writeFile(join(folder, `${component}.log`), text);
  }
  for (const what of ["pods", "daemonsets,deployments,events"]) {
    const text = await cluster.kubectl(["-n", namespace, "get", what, "-o", "yaml"]).catch(String);
    await writeFile(join(folder, `${what.split(",")[0]}.yaml`), text);
  }
}

type Values = Readonly<Record<string, unknown>>;

export interface SceneOptions extends Omit<StageOptions, "log"> {
  /** For the release; over those that fit it to the stage. */
  readonly values?: Values | ((stage: Stage) => Values);
  /** False: nothing is installed before a chapter says so (`scene.install`). */
  readonly install?: boolean;
}

/**
 * A scene for all tests of a file: opened before the first, closed after the last, with the logs of our pods in
 * test-results/e2e/<file>.
 */
export function useScene(options: SceneOptions = {}): () => Scene {
  let opened: Scene | undefined;
  // Other processes of this machine may have the cluster for a while.
  beforeAll(async () => {
    opened = await openScene(options);
  }, 2_400_000);
  afterAll(() => opened?.close(), 120_000);
  return () => {
    if (!opened) throw new Error("the scene is not open");
    return opened;
  };
}

async function openScene({ values = {}, install = true, ...options }: SceneOptions): Promise<Scene> {
  const stage = await openStage({ ...options, log });
  const { kubectl } = stage.cluster;
  let release: Release | undefined;
  const ours = typeof values === "function" ? values(stage) : values;

  const scene: Scene = {
    stage,
    get release() {
      if (!release) throw new Error("nothing is installed");
      return release;
    },
    async install(options = { values: ours }) {
      release = await installRelease({ stage, ...options });
      return release;
    },
    async apply(object, namespace = "default") {
      await kubectl(["-n", namespace, "apply", "-f", "-"], { input: JSON.stringify(object) });
    },
    async pod(name, namespace = "default") {
      return JSON.parse(await kubectl(["-n", namespace, "get", "pod", name, "-o", "json"])) as Pod;
    },
    running: (name) =>
      waitUntil(`pod ${name} to run`, async () => {
        const pod = await scene.pod(name);
        return pod.status.phase === "Running" ? pod : undefined;
      }),
    async deletePod(name) {
      // Not by force: the kubelet then removes the containers only some day, and with them the image's layers.
      await kubectl(["delete", "pod", name, "--wait=true"]);
    },
    async cachedImages() {
      return (JSON.parse(await kubectl(["get", "cachedimages", "-o", "json"])) as { items: CachedImage[] }).items;
    },
    cachedImage: async (sourceImage) =>
      (await scene.cachedImages()).find(({ spec }) => spec.sourceImage === sourceImage),
    ready: (sourceImage) =>
      waitUntil(`CachedImage ${sourceImage} to be Ready`, async () => {
        const found = await scene.cachedImage(sourceImage);
        return found?.status?.phase === "Ready" ? found : undefined;
      }),
    upstreamGets(repository, kind) {
      const prefix = `GET /v2/${repository}/${kind}/`;
      const counts = Object.entries(stage.upstream.counts()).filter(([request]) => request.startsWith(prefix));
      return Object.fromEntries(counts.map(([request, { requests }]) => [request.slice(prefix.length), requests]));
    },
    async close() {
      if (release) await keepLogs(stage, release);
      await stage.close();
    },
  };
  try {
    if (install) await scene.install();
    return scene;
  } catch (error) {
    await keepLogs(stage, { name: "cache-registry", namespace: "cache-registry-system" });
    await stage.close();
    throw error;
  }
}
