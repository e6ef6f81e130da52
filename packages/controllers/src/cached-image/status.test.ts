import type { CachedImageStatus } from "@cache-registry/kube/cached-image";
import { findCondition } from "@cache-registry/kube/conditions";
import { describe, expect, it } from "vitest";
import type { RegistryImage } from "../registry/management-client.ts";
import { lifetimeOf } from "./expiry.ts";
import type { Observation } from "./prewarm.ts";
import { isTransition, type StatusSubject, statusOf, writeDelay } from "./status.ts";
import { transitionNotes } from "./transitions.ts";

const now = new Date("2026-01-31T00:00:00.500Z");

function known(image: Partial<RegistryImage>): Observation {
  return { kind: "known", image: { reference: "r", state: "ready", ...image }, lookAgainAfter: 0 };
}

const unreachable: Observation = { kind: "unreachable", lookAgainAfter: 0 };

type Options = Partial<Pick<StatusSubject, "current" | "observation" | "pullSecrets">> & {
  pods?: string[];
  downFor?: number;
};

function status({ current, pods = ["ns/a"], observation, pullSecrets, downFor }: Options = {}): CachedImageStatus {
  const users = { pods, owners: [] };
  const lifetime = lifetimeOf({ now, users, retain: false, unusedSince: undefined, expiryDelay: 10_000 });
  const down = downFor === undefined ? undefined : { since: new Date(now.getTime() - downFor), message: "refused" };
  return statusOf({ now, current, users, lifetime, observation, pullSecrets, down });
}

const ready = status({ observation: known({ digest: "sha256:1", size: 10, progress: 100 }) });

describe("statusOf", () => {
  it("names the digest that the upstream had when it was last asked, also while it cannot be asked", () => {
    const checkedAt = "2026-01-30T00:00:00.000Z";
    const confirmed = status({ observation: known({ digest: "sha256:2", checkedAt }) });
    expect(confirmed.upstreamDigest).toBe("sha256:2");
    const stale = known({ digest: "sha256:2", state: "stale", checkedAt });
    expect(status({ observation: stale }).upstreamDigest).toBeUndefined();
    expect(status({ current: confirmed, observation: stale }).upstreamDigest).toBe("sha256:2");
    // A digest is never asked for: it is what it is.
    expect(status({ observation: known({ digest: "sha256:2", checkedAt: null }) }).upstreamDigest).toBeUndefined();
  });

  it("of a failed image stays while it is tried again and comes no further", () => {
    const failed = status({ observation: known({ state: "failed", error: "503", progress: 40 }) });
    const again = status({ current: failed, observation: known({ state: "pulling", progress: 40 }) });
    expect(again).toEqual(failed);
    expect(status({ current: failed, observation: known({ state: "pending", progress: 40 }) })).toEqual(failed);
    expect(status({ current: failed, observation: known({ state: "pulling", progress: 41 }) }).phase).toBe("Pulling");
    const room = status({ observation: known({ state: "failed", reason: "NoSpace", progress: 0 }) });
    expect(status({ current: room, observation: known({ state: "pulling", progress: 0 }) })).toEqual(room);
    const reference = status({ observation: undefined });
    expect(status({ current: reference, observation: known({ state: "pulling", progress: 0 }) }).phase).toBe("Pulling");
  });

  it("tells of pull secrets while there are some", () => {
    const update = { type: "PullSecrets", status: "True", reason: "HandedOver", message: "yes" } as const;
    const told = status({ observation: known({}), pullSecrets: update });
    expect(findCondition(told.conditions, "PullSecrets")).toMatchObject({ status: "True", reason: "HandedOver" });
    const later = status({ current: told, observation: known({}) });
    expect(findCondition(later.conditions, "PullSecrets")).toBeDefined();
    const gone = status({ current: told, observation: known({}), pullSecrets: "none" });
    expect(gone.conditions?.map(({ type }) => type)).toEqual(["InUse", "Ready"]);
  });

  it.each([
    ["pending", "Pending", "False"],
    ["pulling", "Pulling", "False"],
    ["ready", "Ready", "True"],
    ["stale", "Stale", "True"],
    ["failed", "Failed", "False"],
  ] as const)("an image that is %s is %s", (state, phase, condition) => {
    const result = status({ observation: known({ state }) });
    expect(result.phase).toBe(phase);
    expect(findCondition(result.conditions, "Ready")?.status).toBe(condition);
  });

  it("is Expiring when nothing names the image, with both times in whole seconds", () => {
    const result = status({ pods: [], observation: known({}) });
    expect(result).toMatchObject({
      phase: "Expiring",
      usedBy: { count: 0 },
      unusedSince: "2026-01-31T00:00:00Z",
      expiresAt: "2026-01-31T00:00:10Z",
    });
    expect(findCondition(result.conditions, "Ready")?.status).toBe("True");
  });

  it("lists at most ten pods and counts all", () => {
    const pods = Array.from({ length: 25 }, (_, index) => `ns/${index}`);
    const { usedBy } = status({ pods, observation: known({}) });
    expect(usedBy?.count).toBe(25);
    expect(usedBy?.pods).toHaveLength(10);
  });

  it("stays as it was while the registry restarts", () => {
    const result = status({ current: ready, observation: unreachable, downFor: 20_000 });
    expect(result).toEqual(ready);
  });

  it("says that nobody knows when the registry is away for long, and keeps the facts", () => {
    const result = status({ current: ready, observation: unreachable, downFor: 60_000 });
    expect(result).toMatchObject({ phase: "Ready", digest: "sha256:1", size: 10 });
    expect(findCondition(result.conditions, "Ready")).toMatchObject({
      status: "Unknown",
      reason: "RegistryUnreachable",
    });
  });

  it("is itself again, not Expiring, when used again while the registry is away", () => {
    const expiring = status({ current: ready, pods: [], observation: known({ digest: "sha256:1", size: 10 }) });
    expect(status({ current: expiring, observation: unreachable }).phase).toBe("Ready");
  });

  it("carries the registry's reason, cut to a sane length", () => {
    const result = status({ observation: known({ state: "failed", error: "x".repeat(5_000) }) });
    const message = findCondition(result.conditions, "Ready")?.message ?? "";
    expect(message.length).toBeLessThan(600);
    expect(message).toMatch(/^The image could not be fetched: x+\. It is tried again\.$/);
  });
});

describe("statusOf an image without room", () => {
  it("says what a person can do about it, with the registry's numbers", () => {
    const error = "no space: 6 MiB more do not fit into 16 MiB (storage.maxSize) beside what is pinned";
    const result = status({ observation: known({ state: "failed", reason: "NoSpace", error }) });
    expect(result.phase).toBe("Failed");
    expect(findCondition(result.conditions, "Ready")).toMatchObject({
      status: "False",
      reason: "NoSpace",
      message: `The cache is full of pinned images, or its disk is full: raise storage.maxSize or enlarge the volume, or unpin by deleting CachedImages that nothing uses any more (${error}). It is tried again.`,
    });
  });

  it("takes a reason that it does not know for any failure", () => {
    const result = status({ observation: known({ state: "failed", reason: "Eclipse", error: "no" }) });
    expect(findCondition(result.conditions, "Ready")?.reason).toBe("WarmUpFailed");
  });
});

describe("writeDelay", () => {
  const pulling = (progress: number): CachedImageStatus =>
    status({ observation: known({ state: "pulling", progress }) });
  const podCount = (count: number): CachedImageStatus =>
    status({ pods: Array.from({ length: count }, (_, index) => `ns/${index}`), observation: known({}) });

  it("lets transitions through at once", () => {
    expect(writeDelay(pulling(50), ready, 0)).toBe(0);
    expect(writeDelay(undefined, ready, 0)).toBe(0);
    expect(writeDelay(podCount(0), podCount(1), 0)).toBe(0);
  });

  it("lets progress through every 10 percent or 5 seconds", () => {
    expect(writeDelay(pulling(50), pulling(60), 0)).toBe(0);
    expect(writeDelay(pulling(50), pulling(59), 1_000)).toBe(4_000);
    expect(writeDelay(pulling(50), pulling(59), 5_000)).toBe(0);
  });

  it("does not write for each pod of a rollout", () => {
    expect(isTransition(podCount(3), podCount(4))).toBe(false);
    expect(writeDelay(podCount(3), podCount(4), 2_000)).toBe(3_000);
  });
});

describe("transitionNotes", () => {
  const reasons = (before: CachedImageStatus | undefined, after: CachedImageStatus): string[] =>
    transitionNotes(before, after).map(({ reason }) => reason);
  const failed = status({ observation: known({ state: "failed", error: "no" }) });
  const full = status({ observation: known({ state: "failed", reason: "NoSpace" }) });
  const expiring = status({ current: ready, pods: [], observation: known({}) });

  it("tells of Warmed, WarmUpFailed, NoSpace and Expiring, once each", () => {
    expect(reasons(undefined, ready)).toEqual(["Warmed"]);
    expect(reasons(ready, ready)).toEqual([]);
    expect(reasons(undefined, failed)).toEqual(["WarmUpFailed"]);
    expect(reasons(failed, failed)).toEqual([]);
    expect(reasons(failed, ready)).toEqual(["Warmed"]);
    expect(reasons(failed, full)).toEqual(["NoSpace"]);
    expect(reasons(full, full)).toEqual([]);
    expect(reasons(ready, expiring)).toEqual(["Expiring"]);
    expect(reasons(expiring, ready)).toEqual([]);
    const moved = status({ current: ready, observation: known({ digest: "sha256:2" }) });
    expect(reasons(ready, moved)).toEqual(["TagMoved"]);
    expect(reasons(moved, status({ current: moved, observation: known({ state: "failed" }) }))).toEqual([
      "WarmUpFailed",
    ]);
  });

  it("does not call a registry that came back a warm-up", () => {
    const away = status({ current: ready, observation: unreachable, downFor: 60_000 });
    expect(reasons(away, ready)).toEqual([]);
  });
});
