import { setTimeout as pause } from "node:timers/promises";
import type { Digest } from "@cache-registry/core/digest";
import { sha256 } from "@cache-registry/storage/blob-store/conformance/fixtures";
import type { DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import { createPostgresDigestLock } from "@cache-registry/storage/blob-store/postgres-digest-lock";
import { leaseStoreConformance } from "@cache-registry/storage/lease-store/conformance";
import type { LeaseStore } from "@cache-registry/storage/lease-store/lease-store";
import { createPostgresLeaseStore } from "@cache-registry/storage/lease-store/postgres";
import { createPostgresSession, type PostgresSession } from "@cache-registry/storage/lease-store/postgres-session";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type PostgresServer, startPostgresServer } from "../support/postgres-server.ts";
import { startVanishingRelay } from "../support/vanishing-relay.ts";

let server: PostgresServer;
const sessions: PostgresSession[] = [];
beforeAll(async () => {
  server = await startPostgresServer();
});
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
});
afterAll(() => server?.dispose());

function sessionOn(url: string): PostgresSession {
  const session = createPostgresSession({ config: async () => ({ connectionString: url }) });
  sessions.push(session);
  return session;
}

leaseStoreConformance("postgres", async () => {
  const url = await server.database();
  const [one, two] = [sessionOn(url), sessionOn(url)].map(createPostgresLeaseStore);
  if (!one || !two) throw new Error("two stores");
  return [one, two];
});

const digest = sha256("content");
const unavailable = { code: "UNAVAILABLE", status: 503, headers: { "retry-after": "1" } };

async function twoLocks(): Promise<[DigestLock, DigestLock]> {
  const url = await server.database();
  return [createPostgresDigestLock(sessionOn(url)), createPostgresDigestLock(sessionOn(url))];
}

describe("the digest lock of many replicas", () => {
  it("lets one task at a time work on a digest, whosever it is", async () => {
    const locks = await twoLocks();
    let inside = 0;
    let most = 0;
    const task = async () => {
      inside += 1;
      most = Math.max(most, inside);
      await pause(2);
      inside -= 1;
      return 1;
    };
    const runs = Array.from({ length: 40 }, (_, index) => locks[index % 2 ? 0 : 1].run(digest, task));
    expect((await Promise.all(runs)).length).toBe(40);
    expect([most, locks[0].size, locks[1].size]).toEqual([1, 0, 0]);
  });

  it("does not make other digests wait, and is free after a failure", async () => {
    const [one, two] = await twoLocks();
    const other = sha256("other");
    const release = Promise.withResolvers<void>();
    const held = one.run(digest, () => release.promise);
    expect(await two.run(other, async () => "other")).toBe("other");
    await expect(one.run(other, () => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    expect(await two.run(other, async () => "again")).toBe("again");
    release.resolve();
    await held;
    expect(await two.run(digest, async () => "free")).toBe("free");
  });

  it("is given back by a process that dies", async () => {
    const url = await server.database();
    const dying = sessionOn(url);
    const started = Promise.withResolvers<void>();
    const never = createPostgresDigestLock(dying).run(digest, () => {
      started.resolve();
      return new Promise<void>(() => undefined);
    });
    never.catch(() => undefined);
    await started.promise;
    const next = createPostgresDigestLock(sessionOn(url)).run(digest, async () => "mine");
    await dying.close();
    expect(await next).toBe("mine");
  });

  it("tells whoever lost it, before anything is taken away and before anything is acknowledged", async () => {
    const [one, two] = await twoLocks();
    const confirmations: unknown[] = [];
    const losing = one.run(digest, async ({ confirm }) => {
      await confirm();
      await server.kill();
      await server.start();
      // The other has it by now.
      await eventually(() => two.run(digest, async () => undefined), 10_000);
      confirmations.push(await confirm().catch((error: unknown) => error));
      return "done";
    });
    await expect(losing).rejects.toMatchObject(unavailable);
    expect(confirmations).toEqual([expect.objectContaining({ code: "UNAVAILABLE" })]);
    expect(await one.run(digest, async () => "again")).toBe("again");
  });
});

describe("without the server", () => {
  async function expectRefusal(task: () => Promise<unknown>): Promise<void> {
    const began = performance.now();
    await expect(task()).rejects.toMatchObject(unavailable);
    expect(performance.now() - began).toBeLessThan(1_000);
  }
  const asked = (leases: LeaseStore, lock: DigestLock, of: Digest = digest) => [
    () => leases.acquire("x", { id: "a", address: null }, 1_000),
    () => leases.lookup("x"),
    () => leases.renew([{ name: "x", holder: "a", address: null, token: 1, since: 0 }], 1_000),
    () => lock.run(of, async () => undefined),
  ];

  it("refuses at once when it is stopped, and works when it is back", async () => {
    const session = sessionOn(await server.database());
    const [leases, lock] = [createPostgresLeaseStore(session), createPostgresDigestLock(session)];
    const { lease } = await leases.acquire("x", { id: "a", address: null }, 60_000);
    await server.kill();
    for (const task of asked(leases, lock)) await expectRefusal(task);
    await server.start();
    await eventually(() => leases.lookup("x"));
    // Leases are not kept over a crash; tokens go on.
    const again = await leases.acquire("x", { id: "b", address: null }, 60_000);
    expect([again.granted, again.lease.token > lease.token]).toEqual([true, true]);
    expect(await leases.renew([lease], 1_000)).toEqual(new Set());
  });

  it("has patience with one that lives and is slow", async () => {
    const connection = await sessionOn(await server.database()).connection();
    await connection.query("SELECT pg_sleep(1.6)");
    expect(connection.alive).toBe(true);
  });

  it("refuses within a second when it has gone silent", async () => {
    const url = new URL(await server.database());
    const relay = await startVanishingRelay(`http://${url.host}`);
    url.host = new URL(relay.url).host;
    const session = sessionOn(url.href);
    const [leases, lock] = [createPostgresLeaseStore(session), createPostgresDigestLock(session)];
    try {
      await leases.lookup("x");
      relay.vanish();
      await Promise.all(asked(leases, lock).map(expectRefusal));
      for (const task of asked(leases, lock)) await expectRefusal(task);
      relay.comeBack();
      await eventually(() => leases.lookup("x"));
    } finally {
      await relay.close();
    }
  });
});
