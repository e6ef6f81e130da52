/** The main job from admission to expiry, seen from outside: kubectl, the upstream's counters, the registry's own figures. */
import { printByteSize } from "@cache-registry/core/byte-size";
import { deployment, podOf, waitUntil } from "../stage/objects.ts";
import type { Release } from "../stage/release.ts";
import type { Stage } from "../stage/stage.ts";
import type { Narrator } from "./narrator.ts";

const IMAGE = "hello:1.0";
const CACHED = "docker.io/library/hello:1.0";
const LAYER_BYTES = 48 << 20;

interface CachedImage {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly sourceImage: string };
  readonly status?: {
    readonly phase?: string;
    readonly progress?: number;
    readonly size?: number;
    readonly expiresAt?: string;
  };
}

export interface StoryParts {
  readonly stage: Stage;
  readonly release: Release;
  readonly narrator: Narrator;
}

export async function tellStory(parts: StoryParts): Promise<void> {
  const { stage, narrator } = parts;
  narrator.chapter("A Deployment that knows nothing of the cache");
  await stage.publish({ repository: "library/hello", tag: "1.0", layerBytes: LAYER_BYTES });
  stage.upstream.reset();
  await firstPod(parts);
  await warmed(parts);
  await withoutUpstream(parts);
  await expired(parts);
}

async function firstPod({ stage, narrator }: StoryParts): Promise<void> {
  const { kubectl } = stage.cluster;
  narrator.say(`image as written:      ${IMAGE}`);
  await narrator.timed("first pod Running, cold (admission, pull through the cache, start)", async () => {
    await kubectl(["apply", "-f", "-"], { input: JSON.stringify(deployment("hello", IMAGE)) });
    await kubectl(["rollout", "status", "deployment/hello", "--timeout=120s"], { timeoutMs: 130_000 });
  });
  const pod = await podOf(stage.cluster, "app=hello");
  narrator.say(`image after admission: ${pod.spec.containers[0]?.image}`);
  narrator.say(`annotation:            ${JSON.stringify(pod.metadata.annotations)}`);
}

async function warmed({ stage, narrator }: StoryParts): Promise<void> {
  let last = "";
  const image = await waitUntil("the CachedImage to be Ready", async () => {
    const found = await cachedImage(stage);
    const line = found?.status?.phase ? `${found.status.phase} ${found.status.progress ?? 0} %` : "";
    if (line && line !== last) narrator.say(`CachedImage ${found?.metadata.name}: ${line}`);
    last = line;
    return found?.status?.phase === "Ready" ? found : undefined;
  });
  const reads = blobReads(stage);
  const bytes = reads.reduce((sum, [, traffic]) => sum + traffic.bytes, 0);
  narrator.say(
    `size ${printByteSize(image.status?.size ?? 0)}; fetched from upstream: ${printByteSize(bytes)} in ${reads.length} blobs`,
  );
  const repeated = reads.filter(([, traffic]) => traffic.requests !== 1);
  if (repeated.length > 0) throw new Error(`blobs were fetched more than once: ${JSON.stringify(repeated)}`);
  narrator.say("each blob was fetched from the upstream exactly once, although a pod and the pre-warming wanted it");
}

async function withoutUpstream({ stage, narrator }: StoryParts): Promise<void> {
  const { kubectl } = stage.cluster;
  narrator.chapter("The upstream goes down, the node forgets the image, the pod starts anew");
  await stage.upstream.off();
  await kubectl(["delete", "pod", "-l", "app=hello", "--wait=false"]);
  await kubectl(["scale", "deployment/hello", "--replicas=0"]);
  await waitUntil("the pod to be gone", async () =>
    (await kubectl(["get", "pods", "-l", "app=hello", "-o", "name"])) === "" ? true : undefined,
  );
  await stage.cluster.removeImage(`localhost:7439/${CACHED}`);
  await narrator.timed("pod Running from the cache, upstream off", async () => {
    await kubectl(["scale", "deployment/hello", "--replicas=1"]);
    await kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"], { timeoutMs: 70_000 });
  });
  await stage.upstream.on();
}

async function expired({ stage, release, narrator }: StoryParts): Promise<void> {
  const { kubectl } = stage.cluster;
  narrator.chapter("Nothing uses the image any more");
  const before = await storedBytes(release);
  await kubectl(["delete", "deployment", "hello"]);
  const unused = await waitUntil("expiresAt", async () => {
    const found = await cachedImage(stage);
    return found?.status?.expiresAt ? found : undefined;
  });
  narrator.say(`CachedImage is ${unused.status?.phase}; it expires at ${unused.status?.expiresAt}`);
  await narrator.timed("CachedImage gone after its delay of 10 s", () =>
    waitUntil("the CachedImage to go", async () => ((await cachedImage(stage)) ? undefined : true)),
  );
  await narrator.timed("disk space back (grace 2 s), without a restart or a read-only moment", () =>
    waitUntil("the bytes to go", async () => ((await storedBytes(release)) < before - LAYER_BYTES ? true : undefined)),
  );
  narrator.say(`store: ${printByteSize(before)} before, ${printByteSize(await storedBytes(release))} now`);
}

async function cachedImage(stage: Stage): Promise<CachedImage | undefined> {
  const { items } = JSON.parse(await stage.cluster.kubectl(["get", "cachedimages", "-o", "json"])) as {
    items: CachedImage[];
  };
  return items.find(({ spec }) => spec.sourceImage === CACHED);
}

function blobReads(stage: Stage) {
  return Object.entries(stage.upstream.counts()).filter(([request]) =>
    /^GET .*\/library\/hello\/blobs\//.test(request),
  );
}

async function storedBytes(release: Release): Promise<number> {
  const { body } = await release.management("/stats");
  return (body as { bytes: number }).bytes;
}
