import { describe, expect, it } from "vitest";
import { createAuthorizer } from "./authorize.ts";

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const alice = { verify: async (user: string, password: string) => user === "alice" && password === "a:b" };
const nobody = { verify: async () => false };

describe("createAuthorizer", () => {
  it("lets known users do everything, with any authenticator", async () => {
    const authorizer = createAuthorizer({
      authenticators: [nobody, alice],
      anonymousPull: false,
      anonymousPush: false,
    });
    await authorizer.authorize("pull", basic("alice", "a:b"));
    await authorizer.authorize("push", basic("alice", "a:b"));
    await authorizer.ping(basic("alice", "a:b"));
    for (const wrong of [basic("alice", "x"), basic("bob", "a:b"), "Bearer x", "Basic !!!", "Basic YQ=="]) {
      await expect(authorizer.authorize("pull", wrong)).rejects.toMatchObject({ status: 401 });
      await expect(authorizer.ping(wrong)).rejects.toMatchObject({ status: 401 });
    }
  });

  it("keeps anonymous rights apart, and challenges for the rest", async () => {
    const authorizer = createAuthorizer({ authenticators: [alice], anonymousPull: true, anonymousPush: false });
    await authorizer.authorize("pull", undefined);
    await expect(authorizer.authorize("push", undefined)).rejects.toMatchObject({
      status: 401,
      message: expect.stringContaining("auth.htpasswdFile"),
      headers: { "www-authenticate": expect.stringMatching(/^Basic realm=/) },
    });
    await expect(authorizer.ping(undefined)).rejects.toMatchObject({ status: 401 });
    // Wrong credentials are not overridden by an anonymous right.
    await expect(authorizer.authorize("pull", basic("alice", "x"))).rejects.toMatchObject({ status: 401 });
  });

  it("does not hold credentials against anybody when there are no users", async () => {
    const authorizer = createAuthorizer({ authenticators: [], anonymousPull: true, anonymousPush: true });
    await authorizer.authorize("push", basic("some", "body"));
    await authorizer.ping(undefined);
    await authorizer.ping(basic("some", "body"));
    const closed = createAuthorizer({ authenticators: [], anonymousPull: true, anonymousPush: false });
    await expect(closed.authorize("push", basic("some", "body"))).rejects.toMatchObject({ status: 401 });
  });
});
