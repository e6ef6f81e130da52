import type { KubeClient } from "@cache-registry/kube/client";
import { describe, expect, it } from "vitest";
import { createLiveUsage } from "./live-usage.ts";

const signal = new AbortController().signal;

function setup(pods: { name: string; image: string; phase?: string }[]) {
  const lists: string[] = [];
  let gate = Promise.resolve();
  const client = {
    list: async ({ plural }: { plural: string }) => {
      lists.push(plural);
      await gate;
      const items = plural === "pods" ? pods : [];
      return {
        metadata: {},
        items: items.map(({ name, image, phase }) => ({
          metadata: { name, namespace: "ns" },
          spec: { containers: [{ name: "main", image }] },
          status: { phase },
        })),
      };
    },
  } as unknown as KubeClient;
  const usage = createLiveUsage({
    client,
    names: { endpoint: "localhost:7439", registries: new Set<string>() },
    revisionsKept: 2,
  });
  const hold = (): (() => void) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    return resolve;
  };
  return { usage, lists, hold, looks: () => lists.filter((plural) => plural === "pods").length };
}

describe("createLiveUsage", () => {
  it("sees pods that name the image, rewritten or not, and none that are over", async () => {
    const { usage } = setup([
      { name: "a", image: "nginx:1" },
      { name: "b", image: "localhost:7439/docker.io/library/nginx:1" },
      { name: "c", image: "nginx:1", phase: "Succeeded" },
      { name: "d", image: "nginx:2" },
    ]);
    const users = await usage.usersOf("docker.io/library/nginx:1", signal);
    expect(users.pods).toEqual(["ns/a", "ns/b"]);
  });

  it("shares one look among all that ask together, and never one that began before the question", async () => {
    const { usage, hold, looks } = setup([{ name: "a", image: "nginx:1" }]);
    const release = hold();
    const first = usage.usersOf("docker.io/library/nginx:1", signal);
    await expect.poll(looks).toBe(1);
    const later = ["2", "3", "4"].map((tag) => usage.usersOf(`docker.io/library/nginx:${tag}`, signal));
    release();
    await Promise.all([first, ...later]);
    expect(looks()).toBe(2);
  });
});
