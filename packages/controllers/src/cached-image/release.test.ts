import type { CachedImage } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import { silentLogger } from "@cache-registry/runtime/logger";
import { describe, expect, it } from "vitest";
import { createReleaseReconciler } from "./release.ts";
import { createSourceIndex, referenceOf } from "./source-index.ts";

const signal = new AbortController().signal;

function image(name: string, sourceImage: string): CachedImage {
  return { metadata: { name }, spec: { sourceImage } };
}

describe("createSourceIndex", () => {
  it("finds objects by the normal form of what they name", () => {
    const sources = createSourceIndex();
    sources.apply({ type: "added", key: "by-hand", object: image("by-hand", "nginx") });
    sources.apply({ type: "added", key: "ours", object: image("ours", "docker.io/library/nginx:latest") });
    expect(sources.namesOf("docker.io/library/nginx:latest")).toEqual(["by-hand", "ours"]);
    sources.apply({ type: "deleted", key: "by-hand", object: image("by-hand", "nginx") });
    expect(sources.has("docker.io/library/nginx:latest")).toBe(true);
    sources.apply({ type: "deleted", key: "ours", object: image("ours", "nginx") });
    expect(sources.has("docker.io/library/nginx:latest")).toBe(false);
  });

  it("knows no reference for nonsense", () => {
    expect(referenceOf(image("x", "No:Such:Image"))).toBeUndefined();
  });
});

describe("createReleaseReconciler", () => {
  function setup(onRelease: () => void = () => {}) {
    const sources = createSourceIndex();
    const calls: string[] = [];
    const reconcile = createReleaseReconciler({
      client: {} as KubeClient,
      owner: "me",
      sources,
      registry: {
        release: async (reference, owner) => {
          calls.push(`release ${reference} ${owner}`);
          onRelease();
        },
        references: async function* () {},
      },
      prewarm: {
        forget: (reference) => void calls.push(`forget ${reference}`),
        roomMade: () => ["ghcr.io/waiting/app:1"],
      },
      enqueueImage: (name) => void calls.push(`look at ${name}`),
      logger: silentLogger(),
    });
    return { sources, calls, reconcile };
  }

  it("releases what no object names", async () => {
    const { calls, reconcile } = setup();
    await reconcile("docker.io/library/nginx:1", signal);
    expect(calls).toContain("release docker.io/library/nginx:1 me");
  });

  it("looks again at what waits for room", async () => {
    const { sources, calls, reconcile } = setup();
    sources.apply({ type: "added", key: "waits", object: image("waits", "ghcr.io/waiting/app:1") });
    await reconcile("docker.io/library/nginx:1", signal);
    expect(calls).toContain("look at waits");
  });

  it("releases nothing that another object still names", async () => {
    const { sources, calls, reconcile } = setup();
    sources.apply({ type: "added", key: "x", object: image("x", "nginx:1") });
    await reconcile("docker.io/library/nginx:1", signal);
    expect(calls).toEqual([]);
  });

  it("asks again for what was recorded again during the release", async () => {
    const { sources, calls, reconcile } = setup(() =>
      sources.apply({ type: "added", key: "x", object: image("x", "nginx:1") }),
    );
    await reconcile("docker.io/library/nginx:1", signal);
    expect(calls.slice(-2)).toEqual(["forget docker.io/library/nginx:1", "look at x"]);
  });
});
