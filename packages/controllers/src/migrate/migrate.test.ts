import { ApiError } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { KubeObject } from "@cache-registry/kube/object";
import type { Resource } from "@cache-registry/kube/resource";
import { expect, it } from "vitest";
import { migrateFrom } from "./migrate.ts";
import { PREDECESSORS } from "./predecessors.ts";

/** A cluster without our definition; the rest is in test/integration. */
it("says that cache-registry has to be installed first", async () => {
  const [old] = PREDECESSORS;
  if (!old) throw new Error("there are predecessors");
  const record = { metadata: { name: "nginx" }, spec: { sourceImage: "nginx" } };
  const fake = {
    list: async (resource: Resource<KubeObject>) => ({ metadata: {}, items: resource === old.records ? [record] : [] }),
    create: async () => {
      throw new ApiError(404, { kind: "Status", message: "the server could not find the requested resource" });
    },
  };
  const client = fake as unknown as KubeClient;
  const migration = migrateFrom(old, { client, registries: new Set(), apply: true, say: () => {} });
  await expect(migration).rejects.toThrow(/install cache-registry first/);
});
