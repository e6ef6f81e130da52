import { silentLogger } from "@cache-registry/runtime/logger";
import { createInProcessLeaseStore } from "@cache-registry/storage/lease-store/in-process";
import type { LeaseStore } from "@cache-registry/storage/lease-store/lease-store";
import { afterEach, expect, it } from "vitest";
import { createLeases, type Leases } from "./leases.ts";
import { createUploadOwners } from "./upload-owner.ts";

const TTL_MS = 600;
const started: Leases[] = [];
afterEach(() => Promise.all(started.splice(0).map((leases) => leases.stop())));

/** Its leases end meanwhile, as rows do whose holders cannot renew them. */
function storeThatMayBeAway() {
  const store = createInProcessLeaseStore();
  const state = { away: false };
  async function unlessAway<Result>(ask: () => Promise<Result>): Promise<Result> {
    if (state.away) throw new Error("away");
    return ask();
  }
  const reachable: LeaseStore = {
    ...store,
    close: async () => {},
    acquire: (...args) => unlessAway(() => store.acquire(...args)),
    renew: (...args) => unlessAway(() => store.renew(...args)),
    lookup: (...args) => unlessAway(() => store.lookup(...args)),
  };
  return { state, store: reachable };
}

async function replica(store: LeaseStore, address: string): Promise<Leases> {
  const leases = createLeases({ store, address, logger: silentLogger(), ttl: TTL_MS, renewEvery: 30 });
  await leases.start();
  started.push(leases);
  return leases;
}

it("knows no session of a replica that is gone, and cannot say so right after the leases of all have ended", async () => {
  const { state, store } = storeThatMayBeAway();
  const one = await replica(store, "http://10.0.0.1");
  const two = await replica(store, "http://10.0.0.2");
  const owners = createUploadOwners(one);
  const session = `${two.id}-1`;
  const answer = (id: string) => owners.ownerOf(id).catch(({ code }: { code: string }) => code);
  await expect.poll(() => answer(session)).toEqual({ id: two.id, address: "http://10.0.0.2" });
  await expect.poll(() => answer("0123456789ab-1")).toBe("BLOB_UPLOAD_UNKNOWN");

  state.away = true;
  // Longer than a lease lives.
  await expect.poll(() => one.doubtful, { timeout: 5_000 }).toBe(true);
  await two.stop();
  state.away = false;
  const asked = [answer(session), owners.isElsewhere(session), answer(`${one.id}-1`)] as const;
  expect(await Promise.all(asked)).toEqual(["UNAVAILABLE", true, undefined]);

  // The other one had the time to come back, and did not.
  await expect.poll(() => answer(session), { timeout: 5_000 }).toBe("BLOB_UPLOAD_UNKNOWN");
  await expect.poll(() => owners.isElsewhere(session)).toBe(false);
});
