import { ApiError } from "@cache-registry/kube/api-error";
import type { CachedImage } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import { silentLogger } from "@cache-registry/runtime/logger";
import { describe, expect, it } from "vitest";
import { createExpire } from "./expire.ts";

const object: CachedImage = {
  metadata: { name: "n", uid: "u", resourceVersion: "5" },
  spec: { sourceImage: "docker.io/library/nginx:1" },
  status: { unusedSince: "2026-01-01T00:00:00Z" },
};

function setup(options: { live?: CachedImage; pods?: string[]; owners?: string[]; refuse?: ApiError } = {}) {
  const deleted: unknown[] = [];
  const client = {
    get: async () => options.live ?? object,
    delete: async (_resource: unknown, _at: unknown, { preconditions }: { preconditions: unknown }) => {
      if (options.refuse) throw options.refuse;
      deleted.push(preconditions);
    },
  } as unknown as KubeClient;
  const liveUsage = { usersOf: async () => ({ pods: options.pods ?? [], owners: options.owners ?? [] }) };
  const expire = createExpire({ client, liveUsage, logger: silentLogger() });
  return { deleted, run: () => expire(object, "docker.io/library/nginx:1", new AbortController().signal) };
}

describe("createExpire", () => {
  it("deletes exactly the object that it looked at", async () => {
    const { deleted, run } = setup();
    expect(await run()).toBe(true);
    expect(deleted).toEqual([{ uid: "u", resourceVersion: "5" }]);
  });

  it.each([
    ["a pod names the image by the API server's word", { pods: ["ns/new"] }],
    ["an owner does", { owners: ["CronJob ns/nightly"] }],
    ["it was marked retain meanwhile", { live: { ...object, spec: { ...object.spec, retain: true } } }],
    ["it was used meanwhile", { live: { ...object, status: {} } }],
    ["another object has its name", { live: { ...object, metadata: { ...object.metadata, uid: "other" } } }],
  ])("keeps it when %s", async (_, options) => {
    const { deleted, run } = setup(options);
    expect(await run()).toBe(false);
    expect(deleted).toEqual([]);
  });

  it("keeps it when it changes between the look and the deletion", async () => {
    const { run } = setup({ refuse: new ApiError(409, { kind: "Status", reason: "Conflict" }) });
    expect(await run()).toBe(false);
  });

  it("is content when it is gone already", async () => {
    const { run } = setup({ refuse: new ApiError(404, { kind: "Status", reason: "NotFound" }) });
    expect(await run()).toBe(true);
  });
});
