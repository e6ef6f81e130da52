import type { Lease, LeaseStore } from "./lease-store.ts";

type Held = { readonly lease: Lease; expiresAt: number };

/** For one replica: leases between the parts of one process, gone with it. */
export function createInProcessLeaseStore({ now = Date.now }: { readonly now?: () => number } = {}): LeaseStore {
  const leases = new Map<string, Held>();
  let lastToken = 0;

  function held(name: string): Held | undefined {
    const found = leases.get(name);
    if (found && found.expiresAt > now()) return found;
    leases.delete(name);
    return undefined;
  }

  function own({ name, token }: Lease): Held | undefined {
    const found = held(name);
    return found?.lease.token === token ? found : undefined;
  }

  return {
    start: async () => {},
    close: async () => leases.clear(),
    async acquire(name, { id, address }, ttl) {
      const other = held(name);
      if (other) return { granted: false, lease: other.lease };
      lastToken += 1;
      const lease: Lease = { name, holder: id, address, token: lastToken, since: now() };
      leases.set(name, { lease, expiresAt: now() + ttl });
      return { granted: true, lease };
    },
    async renew(renewed, ttl) {
      const still = new Set<string>();
      for (const lease of renewed) {
        const found = own(lease);
        if (!found) continue;
        found.expiresAt = now() + ttl;
        still.add(lease.name);
      }
      return still;
    },
    async release(released) {
      for (const lease of released) {
        if (own(lease)) leases.delete(lease.name);
      }
    },
    lookup: async (name) => held(name)?.lease,
    async list(prefix) {
      const names = [...leases.keys()].filter((name) => name.startsWith(prefix)).sort();
      return names.flatMap((name) => held(name)?.lease ?? []);
    },
  };
}
