import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { createBatchRunner } from "./batch.ts";
import { mayBeLost } from "./may-be-lost.ts";
import type { Operations } from "./operations.ts";

const local = { name: "team/app", upstream: null };
const cached = { name: "docker.io/library/alpine", upstream: "docker.io" };

describe("writes that may be lost in a power cut", () => {
  it("are those of cached content, sessions and times of use, and no others", () => {
    const lost = (operation: keyof Operations, ...args: unknown[]) => mayBeLost({ operation, args });
    expect([lost("putManifest", { repository: cached }), lost("linkBlob", { repository: cached })]).toEqual([
      true,
      true,
    ]);
    expect([lost("putManifest", { repository: local }), lost("linkBlob", { repository: local })]).toEqual([
      false,
      false,
    ]);
    const imported = { repository: cached, requireReferences: true };
    expect(lost("putManifest", imported)).toBe(false);
    expect([lost("recordPulls", []), lost("createUpload", {})]).toEqual([true, true]);
    const kept = ["deleteManifest", "deleteTag", "unlinkBlob", "touchBlobs", "forgetBlob", "putImage"] as const;
    const collector = ["beginBlobDeletion", "finishBlobDeletion", "reviewManifest", "releaseImage"] as const;
    for (const operation of [...kept, ...collector]) expect(lost(operation)).toBe(false);
  });

  it("wait for no fsync, unless something else shares their transaction", () => {
    const db = new DatabaseSync(":memory:");
    const FULL = 2;
    const seen: unknown[] = [];
    const look = () => {
      seen.push(db.prepare("PRAGMA synchronous").get()?.synchronous === FULL);
      return true;
    };
    const runner = createBatchRunner(db, { linkBlob: look } as unknown as Operations);
    const request = (id: number, repository: object) => ({
      id,
      operation: "linkBlob" as const,
      args: [{ repository }],
    });
    runner.run([request(1, cached)]);
    runner.run([request(2, cached), request(3, local)]);
    runner.run([request(4, cached)]);
    runner.run([request(5, local)]);
    expect(seen).toEqual([false, true, true, false, true]);
    db.close();
  });
});
