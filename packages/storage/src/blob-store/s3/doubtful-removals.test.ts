import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { sha256 } from "../conformance/fixtures.ts";
import { createS3Client } from "./client.ts";
import { createDoubtfulRemovals } from "./doubtful-removals.ts";

describe("doubtful removals", () => {
  it("are not those that no server ever saw", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    const address = taken.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    await new Promise((resolve) => taken.close(resolve));
    const removals = createDoubtfulRemovals();
    const digest = sha256("a");
    const failures: unknown[] = [];
    const client = createS3Client({
      location: { endpoint: `http://localhost:${port}`, region: "us-east-1", bucket: "images", pathStyle: true },
      credentials: async () => ({ accessKeyId: "id", secretAccessKey: "secret" }),
    });
    // Read patience, so that the test is short: what matters is the failure.
    const request = { method: "GET" as const, key: "k", onDoubt: (failure: unknown) => failures.push(failure) };
    await expect(client.text(request)).rejects.toMatchObject({ name: "StoreConnectionError" });
    expect(failures.length).toBeGreaterThan(1);
    for (const failure of failures) removals.add(digest, failure);
    expect(() => removals.check(digest)).not.toThrow();
    removals.add(digest, new Error("something else"));
    expect(() => removals.check(digest)).toThrow("try again later");
    expect(() => removals.check(sha256("b"))).not.toThrow();
  });
});
