import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Lease, LeaseHolder, LeaseStore } from "./lease-store.ts";

/** Gives started stores of two replicas, on the same leases, of which there are none. */
export type OpenLeaseStores = () => Promise<readonly [LeaseStore, LeaseStore]>;

const A: LeaseHolder = { id: "a", address: "http://10.0.0.1:5001" };
const B: LeaseHolder = { id: "b", address: null };
const LONG = 60_000;
const SHORT = 150;

/** The contract of the port, run against every driver. */
export function leaseStoreConformance(driver: string, open: OpenLeaseStores): void {
  describe(`lease store: ${driver}`, () => {
    let one: LeaseStore;
    let two: LeaseStore;
    beforeEach(async () => {
      [one, two] = await open();
    });
    afterEach(() => Promise.all([one.close(), two.close()]));

    async function take(store: LeaseStore, name: string, holder: LeaseHolder, ttl = LONG): Promise<Lease> {
      const { granted, lease } = await store.acquire(name, holder, ttl);
      expect(granted).toBe(true);
      return lease;
    }

    /** As soon as the lease is free, and not before. */
    async function inherit(name: string, holder: LeaseHolder): Promise<Lease> {
      for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
        const { granted, lease } = await two.acquire(name, holder, LONG);
        if (granted) return lease;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error("the lease never ended");
    }

    it("gives a name to one holder, and tells the others who has it", async () => {
      const lease = await take(one, "x", A);
      expect(lease).toMatchObject({ name: "x", holder: "a", address: A.address });
      expect(Math.abs(lease.since - Date.now())).toBeLessThan(60_000);
      expect(await two.acquire("x", B, LONG)).toEqual({ granted: false, lease });
      expect(await one.acquire("x", A, LONG)).toEqual({ granted: false, lease });
      expect(await two.lookup("x")).toEqual(lease);
      expect(await two.lookup("y")).toBeUndefined();
      expect(await take(two, "y", B)).toMatchObject({ holder: "b", address: null });
    });

    it("gives a name to one of many that ask at once", async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 ? one : two).acquire("x", { id: String(index), address: null }, LONG),
        ),
      );
      expect(answers.filter(({ granted }) => granted)).toHaveLength(1);
      expect(new Set(answers.map(({ lease }) => lease.holder)).size).toBe(1);
    });

    it("passes on what was given back, with a greater token", async () => {
      const first = await take(one, "x", A);
      await one.release([first]);
      expect(await two.lookup("x")).toBeUndefined();
      const second = await take(two, "x", B);
      expect(second.token).toBeGreaterThan(first.token);
      // Too late: it belongs to another by now.
      await one.release([first]);
      expect(await one.renew([first], LONG)).toEqual(new Set());
      expect(await one.lookup("x")).toEqual(second);
    });

    it("passes on what was not renewed in time", async () => {
      const first = await take(one, "x", A, SHORT);
      const second = await inherit("x", B);
      expect(second.token).toBeGreaterThan(first.token);
      expect(await one.renew([first], LONG)).toEqual(new Set());
      expect((await one.lookup("x"))?.holder).toBe("b");
    });

    it("does not show what has ended", async () => {
      await take(one, "x", A, 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect([await two.lookup("x"), await two.list("")]).toEqual([undefined, []]);
    });

    it("keeps what is renewed", async () => {
      const leases = [await take(one, "x", A, SHORT), await take(one, "y", A, SHORT)];
      expect(await one.renew(leases, LONG)).toEqual(new Set(["x", "y"]));
      expect(await one.renew([], LONG)).toEqual(new Set());
      await new Promise((resolve) => setTimeout(resolve, SHORT + 50));
      expect((await two.acquire("x", B, LONG)).granted).toBe(false);
      // Renewing can also cut it short.
      await one.renew(leases.slice(0, 1), 1);
      expect((await inherit("x", B)).holder).toBe("b");
      expect(await one.renew(leases, LONG)).toEqual(new Set(["y"]));
    });

    it("lists names by their beginning, taken literally", async () => {
      for (const name of ["replica/b", "replica/a", "replica_c", "fetch/a", "replica/%"]) await take(one, name, A);
      const names = async (prefix: string) => (await two.list(prefix)).map(({ name }) => name);
      expect(await names("replica/")).toEqual(["replica/%", "replica/a", "replica/b"]);
      expect(await names("replica_")).toEqual(["replica_c"]);
      expect(await names("none")).toEqual([]);
    });
  });
}
