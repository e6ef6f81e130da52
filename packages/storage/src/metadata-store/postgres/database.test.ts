import { describe, expect, it } from "vitest";
import { createDatabase, type Database, type DatabaseOptions } from "./database.ts";
import type { Link } from "./link.ts";

const ENDED = "Client has encountered a connection error and is not queryable";

type Failure = () => Promise<never>;

/** A database whose next connections fail so, one after the other; the others work. */
function databaseWith(failures: Failure[]): Database {
  const open: DatabaseOptions["open"] = async ({ onHeard }) => {
    await failures.shift()?.();
    onHeard();
    return { lost: false, pending: 0, command: async () => "COMMIT", end: async () => {} } as unknown as Link;
  };
  return createDatabase({ open, connections: 6, logger: undefined });
}

const fail = (message: string, more: object = {}) => Promise.reject(Object.assign(new Error(message), more));
const ended: Failure = () => fail(ENDED);
const refused: Failure = () => fail("connect ECONNREFUSED", { code: "ECONNREFUSED", errno: -111, syscall: "connect" });
const full: Failure = () => fail("sorry, too many clients already", { code: "53300", severity: "FATAL" });
const silent: Failure = async () => {
  await new Promise((resolve) => setTimeout(resolve, 500));
  return fail("timeout expired");
};

describe("a connection that cannot be made", () => {
  it("since the server ended it at its beginning, is made anew: nobody notices", async () => {
    const failures = [ended, ended];
    const database = databaseWith(failures);
    await expect(database.read(async () => "read")).resolves.toBe("read");
    failures.push(ended, ended);
    await expect(database.transaction(async () => "written")).resolves.toBe("written");
    await database.close();
  });

  it.each([
    ["refused", refused],
    ["silent", silent],
    ["full", full],
  ])("at a server that is %s is an outage, and soon", async (_what, failure) => {
    const database = databaseWith(Array<Failure>(10).fill(failure));
    const begun = performance.now();
    await expect(database.read(async () => "read")).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
    expect(performance.now() - begun).toBeLessThan(1_000);
    await expect(database.read(async () => "read")).rejects.toMatchObject({ cause: { name: "NotAskedError" } });
    await database.close();
  });
});
