import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@cache-registry/runtime/logger";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createHtpasswd, createSingleUser } from "./htpasswd.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-htpasswd-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

describe("createHtpasswd", () => {
  it("verifies users, also with Apache's prefix, comments and Windows line ends", async () => {
    const hash = bcrypt.hashSync("wonderland", 4);
    const path = await file("users", `# people\r\n\r\nalice:${hash}\r\nbob:${hash.replace("$2b", "$2y")}\r\n`);
    const users = createHtpasswd(path, silentLogger());
    expect(await users.verify("alice", "wonderland")).toBe(true);
    expect(await users.verify("alice", "wonderland")).toBe(true);
    expect(await users.verify("bob", "wonderland")).toBe(true);
    expect(await users.verify("alice", "Wonderland")).toBe(false);
    expect(await users.verify("carol", "wonderland")).toBe(false);
    expect(await users.verify("", "")).toBe(false);
  });

  it("ignores what is no bcrypt or costs too much", async () => {
    const costly = `$2b$14$${"a".repeat(53)}`;
    const users = createHtpasswd(await file("odd", `a:{SHA}abc\nb:plain\nc:${costly}\n`), silentLogger());
    for (const user of ["a", "b", "c"]) expect(await users.verify(user, "plain")).toBe(false);
  });

  it("reads the file again when it changes, and forgets who was let in", async () => {
    const path = await file("changing", `alice:${bcrypt.hashSync("old", 4)}\n`);
    const users = createHtpasswd(path, silentLogger());
    expect(await users.verify("alice", "old")).toBe(true);
    await writeFile(path, `alice:${bcrypt.hashSync("newer", 4)}\n`);
    expect(await users.verify("alice", "old")).toBe(false);
    expect(await users.verify("alice", "newer")).toBe(true);
  });

  it("does not remember for the new file what was verified with the old one", async () => {
    const path = await file("racing", `alice:${bcrypt.hashSync("old", 8)}\nbob:${bcrypt.hashSync("b", 4)}\n`);
    const users = createHtpasswd(path, silentLogger());
    await users.verify("bob", "b");
    const slow = users.verify("alice", "old");
    await writeFile(path, `alice:${bcrypt.hashSync("changed", 4)}\n`);
    await users.verify("bob", "b");
    await slow;
    expect(await users.verify("alice", "old")).toBe(false);
  });

  it("takes as long for unknown users as for known ones", async () => {
    const users = createHtpasswd(await file("timing", `alice:${bcrypt.hashSync("x", 10)}\n`), silentLogger());
    const time = async (user: string): Promise<number> => {
      const started = performance.now();
      await users.verify(user, "wrong");
      return performance.now() - started;
    };
    await time("alice");
    const [known, unknown] = [await time("alice"), await time("nobody")];
    expect(unknown).toBeGreaterThan(known / 4);
  });
});

describe("createSingleUser", () => {
  it("verifies one user", async () => {
    const user = createSingleUser(await file("name", "carol\n"), await file("secret", "s3cret\n"));
    expect(await user.verify("carol", "s3cret")).toBe(true);
    expect(await user.verify("carol", "s3cret\n")).toBe(false);
    expect(await user.verify("alice", "s3cret")).toBe(false);
  });

  it("lets nobody in with empty files", async () => {
    const user = createSingleUser(await file("name", "carol\n"), await file("empty", "\n"));
    expect(await user.verify("carol", "")).toBe(false);
    const none = createSingleUser(await file("empty", ""), await file("empty", ""));
    expect(await none.verify("", "")).toBe(false);
  });
});
