import { describe, expect, it } from "vitest";
import { type LifetimeSubject, lifetimeOf } from "./expiry.ts";

const now = new Date("2026-01-31T00:00:00Z");
const day = 86_400_000;
const ago = (milliseconds: number): Date => new Date(now.getTime() - milliseconds);

function subject(changes: Partial<LifetimeSubject> = {}): LifetimeSubject {
  const users = { pods: [], owners: [] };
  return { now, users, retain: false, unusedSince: undefined, expiryDelay: 30 * day, ...changes };
}

describe("lifetimeOf", () => {
  it("keeps what a pod names, however long it was unused before", () => {
    const users = { pods: ["ns/a"], owners: [] };
    const lifetime = lifetimeOf(subject({ users, unusedSince: ago(90 * day) }));
    expect(lifetime).toMatchObject({ inUse: true, unusedSince: undefined, expiresAt: undefined });
    expect(lifetime.keep?.reason).toBe("NamedByPods");
  });

  it("keeps what an owner would start, and says which", () => {
    const users = { pods: [], owners: ["ReplicaSet ns/web-1", "CronJob ns/nightly"] };
    const lifetime = lifetimeOf(subject({ users, unusedSince: ago(90 * day) }));
    expect(lifetime.inUse).toBe(true);
    expect(lifetime.keep).toEqual({
      reason: "NamedByOwners",
      message: "No pod names the image, but ReplicaSet ns/web-1 and 1 more would start one that does.",
    });
  });

  it("keeps what is retained, and still says since when it is unused", () => {
    const lifetime = lifetimeOf(subject({ retain: true, unusedSince: ago(90 * day) }));
    expect(lifetime.keep?.reason).toBe("Retained");
    expect(lifetime).toMatchObject({ inUse: false, unusedSince: ago(90 * day), expiresAt: undefined });
  });

  it("starts the time when the use ends", () => {
    const lifetime = lifetimeOf(subject());
    expect(lifetime).toMatchObject({ unusedSince: now, expiresAt: new Date(now.getTime() + 30 * day) });
    expect(lifetime.keep?.reason).toBe("RecentlyUsed");
  });

  it("expires at the moment that it announced, not before", () => {
    expect(lifetimeOf(subject({ unusedSince: ago(30 * day - 1) })).keep?.reason).toBe("RecentlyUsed");
    expect(lifetimeOf(subject({ unusedSince: ago(30 * day) })).keep).toBeUndefined();
  });

  it("follows a changed delay", () => {
    const unusedSince = ago(10 * day);
    expect(lifetimeOf(subject({ unusedSince, expiryDelay: 5 * day })).keep).toBeUndefined();
    expect(lifetimeOf(subject({ unusedSince, expiryDelay: 20 * day })).expiresAt).toEqual(
      new Date(now.getTime() + 10 * day),
    );
  });
});
