/**
 * Who of many replicas does what: named leases that end by themselves when their holder is gone. Time is the store's own
 * clock, so that the replicas' clocks need not agree.
 *
 * A lease says who should do the work, never that nobody else is still at it: a holder that was stopped for a while may find
 * out late that its lease went to another. What must not happen twice needs the digest lock, or the token.
 */
export interface LeaseStore {
  start(): Promise<void>;
  close(): Promise<void>;
  /** Takes the lease when nobody has it. Not reentrant: the one that has it is refused too. `ttl` in milliseconds. */
  acquire(name: string, holder: LeaseHolder, ttl: number): Promise<LeaseAnswer>;
  /** Prolongs leases to `ttl` from now. Resolves with the names of those that the holders still had. */
  renew(leases: readonly Lease[], ttl: number): Promise<ReadonlySet<string>>;
  /** Gives leases back at once. One that went to another stays with it. Idempotent. */
  release(leases: readonly Lease[]): Promise<void>;
  /** Who has it now. */
  lookup(name: string): Promise<Lease | undefined>;
  /** Leases whose names begin so, by name. */
  list(prefix: string): Promise<Lease[]>;
}

/** A process. `address` is a base URL at which others reach it, null when they cannot. */
export type LeaseHolder = { readonly id: string; readonly address: string | null };

export type Lease = {
  readonly name: string;
  readonly holder: string;
  readonly address: string | null;
  /** Fencing token: greater than that of every earlier holder of the name. */
  readonly token: number;
  /** When this holder got it, in milliseconds since the epoch by the store's clock. */
  readonly since: number;
};

/** `lease`: one's own when granted, else that of the one who has it. */
export type LeaseAnswer = { readonly granted: boolean; readonly lease: Lease };
