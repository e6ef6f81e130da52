import { fromCacheReference, isCached } from "@cache-registry/core/cache-reference";
import { parseImageReference } from "@cache-registry/core/image-reference";
import { MANAGED_LABEL, ORIGINAL_IMAGES_ANNOTATION, SKIPPED_IMAGES_ANNOTATION } from "@cache-registry/core/labels";
import { randomReferenceText } from "@cache-registry/core/testing/random-reference";
import { createRandom, type Random } from "@cache-registry/core/testing/seeded-random";
import jsonPatch from "fast-json-patch";
import { expect, it } from "vitest";
import { UNGATED } from "../cluster-state/cluster-view.ts";
import { Pod } from "../pod.ts";
import { controller } from "../testing/pods.ts";
import { testRules } from "../testing/rules.ts";
import { mutatePod } from "./mutate-pod.ts";
import { patchOf } from "./patch.ts";
import { type ImageSlot, replaceImages } from "./pod-images.ts";

const RULES = testRules({ images: { deny: ["*-deny.example.com", "quay.io/*"] }, registries: ["harbor:5000"] });

function randomImage(random: Random): string {
  const other = [
    "Not Valid",
    "nginx:",
    "harbor:5000/a",
    "unlisted:5000/a",
    "localhost/a",
    "[::1]/a",
    "gcr.io/a/b",
    "quay.io/a",
    `ghcr.io/${"a".repeat(240)}`,
    "localhost:7439/docker.io/library/redis:7",
    "localhost:7439/team/app",
  ] as const;
  return random.chance(0.65) ? randomReferenceText(random) : random.pick([...other]);
}

function list<Item>(random: Random, most: number, create: (index: number) => Item): Item[] | undefined {
  return random.chance(0.3) ? undefined : Array.from({ length: random.below(most + 1) }, (_, index) => create(index));
}

function randomContainer(random: Random, name: string) {
  return {
    name,
    image: randomImage(random),
    imagePullPolicy: random.pick(["Always", "IfNotPresent", "IfNotPresent", "Never"]),
    ...(random.chance(0.3) ? { env: [{ name: "image", value: "nginx" }], command: ["sh", "-c", "true"] } : {}),
    ...(random.chance(0.3)
      ? { resources: { limits: { cpu: "1", memory: "1Gi" } }, securityContext: { runAsUser: 1 } }
      : {}),
  };
}

function randomPod(random: Random): unknown {
  const annotations = {
    ...(random.chance(0.3) ? { "a/b~c": "x", image: "nginx", constructor: "y", toString: "z" } : {}),
    ...(random.chance(0.2)
      ? { [ORIGINAL_IMAGES_ANNOTATION]: random.pick(["{}", "{", '{"c0": "forged"}', '{"gone":"x"}']) }
      : {}),
    ...(random.chance(0.2) ? { [SKIPPED_IMAGES_ANNOTATION]: random.pick(["{}", "null", '{"c0":"owner"}']) } : {}),
  };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...(random.chance(0.5) ? { name: "a" } : { generateName: "a-" }),
      ...(random.chance(0.5) ? { annotations } : {}),
      ...(random.chance(0.5)
        ? { labels: random.pick<Record<string, string>>([{}, { app: "x" }, { [MANAGED_LABEL]: "true" }]) }
        : {}),
      ownerReferences: list(random, 1, () =>
        controller(
          ...random.pick<[string, string]>([
            ["apps/v1", "ReplicaSet"],
            ["x.io/v1", "Y"],
          ]),
        ),
      ),
      managedFields: [{ manager: "kubectl", fieldsV1: { "f:spec": { "f:containers": {} } } }],
    },
    spec: {
      containers: Array.from({ length: 1 + random.below(4) }, (_, index) => randomContainer(random, `c${index}`)),
      initContainers: list(random, 3, (index) => randomContainer(random, `i${index}`)),
      volumes: list(random, 3, (index) => {
        const source = random.chance(0.5)
          ? { emptyDir: {} }
          : { image: { reference: randomImage(random), pullPolicy: "Always" } };
        return { name: `v${index}`, ...source };
      }),
      imagePullSecrets: list(random, 1, () => ({ name: random.pick(["", "regcred"]) })),
      ...(random.chance(0.1) ? { priorityClassName: "system-node-critical" } : {}),
      tolerations: [{ operator: "Exists" }],
      nodeSelector: random.chance(0.2) ? { "kubernetes.io/os": "linux" } : undefined,
    },
  };
}

function review(json: unknown) {
  const pod = Pod.parse(json);
  const mutation = mutatePod({ pod, namespace: "shop", scope: "pod", rules: RULES, cluster: UNGATED });
  return { ...mutation, patch: patchOf(pod, mutation.pod) };
}

function imagesOf(json: unknown): ImageSlot[] {
  const slots: ImageSlot[] = [];
  replaceImages(Pod.parse(json).spec, "pod", (slot) => {
    slots.push(slot);
    return slot.image;
  });
  return slots;
}

/** Everything but what the webhook may change. */
function rest(json: unknown): unknown {
  const pod = Pod.parse(json);
  const ours = new Set([ORIGINAL_IMAGES_ANNOTATION, SKIPPED_IMAGES_ANNOTATION, MANAGED_LABEL]);
  const others = (map: Record<string, string> | null | undefined) =>
    Object.entries(map ?? {}).filter(([key]) => !ours.has(key));
  const { labels, annotations, ...metadata } = pod.metadata;
  const spec = replaceImages(pod.spec, "pod", () => "image");
  return { ...pod, spec, metadata: { ...metadata, labels: others(labels), annotations: others(annotations) } };
}

it("for 1500 random pods: changes images, label and notes only, once, and reversibly", () => {
  const random = createRandom(11);
  let rewritten = 0;
  for (let round = 0; round < 1_500; round += 1) {
    const json: unknown = JSON.parse(JSON.stringify(randomPod(random)));
    const { patch, verdicts } = review(json);
    const patched: unknown = jsonPatch.applyPatch(structuredClone(json), [...patch] as never, true).newDocument;

    expect(rest(patched)).toEqual(rest(json));
    // Single keys only, unless there was no map before.
    const metadata = (json as { metadata: Record<string, unknown> }).metadata;
    for (const { path, op } of patch) {
      expect(path).toMatch(
        /^\/(?:metadata\/(?:labels|annotations)(?:\/cache-registry\.enix\.io~1[a-z-]+)?|spec\/.+\/(?:image|reference))$/,
      );
      const map = /^\/metadata\/(labels|annotations)$/.exec(path)?.[1];
      expect(map !== undefined && (op !== "add" || metadata[map] !== undefined)).toBe(false);
    }

    expect(review(patched).patch).toEqual([]);

    const after = imagesOf(patched);
    const originals: unknown = JSON.parse(
      Pod.parse(patched).metadata.annotations?.[ORIGINAL_IMAGES_ANNOTATION] ?? "{}",
    );
    for (const [index, before] of imagesOf(json).entries()) {
      const image = after[index]?.image ?? "";
      const verdict = verdicts[index];
      expect(verdict?.key).toBe(before.key);
      const changed = image !== before.image;
      expect(changed).toBe(verdict?.result === "rewritten");
      if (!changed) continue;
      rewritten += 1;
      expect(isCached(image, "localhost:7439")).toBe(true);
      expect(fromCacheReference(image, "localhost:7439")).toEqual(parseImageReference(before.image));
      expect(originals).toHaveProperty([before.key], before.image);
    }
  }
  expect(rewritten).toBeGreaterThan(500);
});
