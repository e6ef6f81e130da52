import { describe, expect, it } from "vitest";
import { applyStatus } from "./apply.ts";
import type { CachedImage } from "./cached-image.ts";
import type { KubeClient } from "./client.ts";
import { CACHED_IMAGES } from "./resource.ts";

function createRecorder() {
  const applied: unknown[] = [];
  const client = {
    apply: async (_resource: unknown, object: unknown, options: { fieldManager: string; subresource?: string }) => {
      applied.push({ object, options: { ...options, signal: undefined } });
      return object;
    },
  } as unknown as KubeClient;
  return { client, applied };
}

const current: CachedImage = {
  metadata: { name: "n", uid: "u", resourceVersion: "1" },
  spec: { sourceImage: "docker.io/library/nginx:1" },
  status: { phase: "Ready", usedBy: { count: 1 } },
};

describe("applyStatus", () => {
  it("sends nothing when nothing changes; undefined is absent", async () => {
    const { client, applied } = createRecorder();
    const status = { phase: "Ready" as const, usedBy: { count: 1 }, expiresAt: undefined };
    const write = { client, resource: CACHED_IMAGES, current, status, fieldManager: "me" };
    expect(await applyStatus(write)).toBeUndefined();
    expect(applied).toEqual([]);
  });

  it("sends the whole status and the UID, nothing of the spec", async () => {
    const { client, applied } = createRecorder();
    const status = { phase: "Expiring" as const };
    await applyStatus({ client, resource: CACHED_IMAGES, current, status, fieldManager: "me" });
    expect(applied).toEqual([
      {
        object: {
          apiVersion: "cache-registry.enix.io/v1alpha1",
          kind: "CachedImage",
          metadata: { name: "n", uid: "u", namespace: undefined },
          status: { phase: "Expiring" },
        },
        options: { fieldManager: "me", subresource: "status", signal: undefined },
      },
    ]);
  });
});
