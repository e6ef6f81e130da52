import type { Pod } from "@cache-registry/kube/workloads";
import { describe, expect, it } from "vitest";
import { podLife } from "./pod-life.ts";

const CREATED = "2026-11-21T12:00:00Z";
const now = Date.parse("2026-11-21T12:00:30Z");
const rewritten = ["docker.io/library/postgres:17"];

function pod(metadata: Partial<Pod["metadata"]> = {}, status: Pod["status"] = { phase: "Running" }): Pod {
  return { metadata: { name: "db-1", namespace: "shop", uid: "u-1", creationTimestamp: CREATED, ...metadata }, status };
}
const life = (subject: Pod) => podLife(subject, { rewritten, shortLife: 60_000, now });

describe("podLife", () => {
  it("tells who makes the pod, from which template, and since when it is there", () => {
    const ownerReferences = [
      { apiVersion: "v1", kind: "ConfigMap", name: "x", uid: "u-2" },
      { apiVersion: "postgresql.cnpg.io/v1", kind: "Cluster", name: "db", uid: "u-3", controller: true },
    ];
    expect(life(pod({ ownerReferences }))).toEqual({
      owner: { namespace: "shop", apiVersion: "postgresql.cnpg.io/v1", kind: "Cluster", name: "db", uid: "u-3" },
      template: expect.stringContaining("docker.io/library/postgres:17"),
      created: Date.parse(CREATED),
      ending: false,
    });
    expect(life(pod({ deletionTimestamp: CREATED }))?.ending).toBe(true);
  });

  it("takes a pod without a controller for its own owner", () => {
    expect(life(pod())?.owner).toMatchObject({ apiVersion: "v1", kind: "Pod", name: "db-1", uid: "u-1" });
  });

  it("tells revisions apart, by label and by image", () => {
    const plain = life(pod())?.template;
    expect(life(pod({ labels: { app: "x" } }))?.template).toBe(plain);
    for (const label of ["pod-template-hash", "controller-revision-hash"]) {
      expect(life(pod({ labels: { [label]: "5d8c" } }))?.template).not.toBe(plain);
    }
    const other = podLife(pod(), { rewritten: ["docker.io/library/postgres:18"], shortLife: 60_000, now });
    expect(other?.template).not.toBe(plain);
  });

  it("forgets pods that grew old, and those that were not rewritten", () => {
    expect(podLife(pod(), { rewritten, shortLife: 29_999, now })).toBeUndefined();
    expect(podLife(pod(), { rewritten, shortLife: 30_000, now })).toBeDefined();
    expect(podLife(pod(), { rewritten: [], shortLife: 60_000, now })).toBeUndefined();
    expect(life({ metadata: { name: "x" } })).toBeUndefined();
  });

  it.each<[string, Pod["status"]]>([
    ["evicted or preempted", { conditions: [{ type: "DisruptionTarget", status: "True" }] }],
    ["restarted", { containerStatuses: [{ name: "main", restartCount: 1 }] }],
    ["ended", { containerStatuses: [{ name: "main", restartCount: 0, state: { terminated: {} } }] }],
    ["failing to begin", { initContainerStatuses: [{ name: "prepare", restartCount: 2 }] }],
  ])("says nothing of a pod that is %s", (_what, status) => {
    expect(life(pod({}, status))).toBeUndefined();
  });

  it("is not confused by what is usual in a young pod", () => {
    const status = {
      conditions: [
        { type: "DisruptionTarget", status: "False" },
        { type: "Ready", status: "False" },
      ],
      initContainerStatuses: [{ name: "prepare", restartCount: 0, state: { terminated: {} } }],
      containerStatuses: [{ name: "main", restartCount: 0, state: { waiting: { reason: "PodInitializing" } } }],
    };
    expect(life(pod({}, status))).toBeDefined();
  });
});
