import type { Lease, LeaseStore } from "./lease-store.ts";
import type { PostgresConnection, PostgresSession, SqlValue } from "./postgres-session.ts";

/**
 * Unlogged: no lease waits for a disk. After a crash of the server all leases are free, and whoever had one finds out when
 * it renews; the sequence is logged, so that tokens go on growing. Under a lock, as replicas start together.
 */
const SCHEMA = `DO $$ BEGIN
  PERFORM pg_advisory_xact_lock(7439500018);
  CREATE SEQUENCE IF NOT EXISTS lease_tokens;
  CREATE UNLOGGED TABLE IF NOT EXISTS leases (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    address text,
    token bigint NOT NULL,
    since timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
  );
END $$`;

const COLUMNS =
  "name, holder, address, token::float8 AS token, floor(extract(epoch FROM since) * 1000)::float8 AS since";
const END = (parameter: string) => `clock_timestamp() + ${parameter}::float8 * interval '1 millisecond'`;

const ACQUIRE = `INSERT INTO leases AS l (name, holder, address, token, since, expires_at)
  VALUES ($1, $2, $3, nextval('lease_tokens'), clock_timestamp(), ${END("$4")})
  ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, address = excluded.address, token = excluded.token,
    since = excluded.since, expires_at = excluded.expires_at
  WHERE l.expires_at <= clock_timestamp() RETURNING ${COLUMNS}`;
const RENEW = `UPDATE leases AS l SET expires_at = ${END("$3")} FROM unnest($1::text[], $2::bigint[]) AS mine (name, token)
  WHERE l.name = mine.name AND l.token = mine.token AND l.expires_at > clock_timestamp() RETURNING l.name`;
const RELEASE = `DELETE FROM leases AS l USING unnest($1::text[], $2::bigint[]) AS mine (name, token)
  WHERE l.name = mine.name AND l.token = mine.token`;
/** What nobody took over stays as a row; now and then the old ones go. */
const TIDY = "DELETE FROM leases WHERE expires_at < clock_timestamp() - interval '1 hour'";
const LOOKUP = `SELECT ${COLUMNS} FROM leases WHERE name = $1 AND expires_at > clock_timestamp()`;
const LIST = `SELECT ${COLUMNS} FROM leases WHERE starts_with(name, $1) AND expires_at > clock_timestamp() ORDER BY name`;

const ATTEMPTS = 5;

/** Leases as rows of a PostgreSQL table. Every method throws CodedError UNAVAILABLE within a second without the server. */
export function createPostgresLeaseStore(session: PostgresSession): LeaseStore {
  /** Where the table was seen: another database may be restored in the place of the first. */
  let made: PostgresConnection | undefined;

  async function query<Row extends object>(text: string, values: readonly SqlValue[]): Promise<Row[]> {
    const connection = await session.connection();
    if (made !== connection) {
      await connection.query(SCHEMA);
      await connection.query(TIDY);
      made = connection;
    }
    return connection.query<Row>(text, values);
  }
  const named = (leases: readonly Lease[]): [string[], number[]] => [
    leases.map(({ name }) => name),
    leases.map(({ token }) => token),
  ];

  return {
    /** A server that is away now is no reason not to start: the table is made at the first use. */
    start: async () => {},
    close: async () => {},
    async acquire(name, { id, address }, ttl) {
      for (let attempt = 1; ; attempt += 1) {
        const [own] = await query<Lease>(ACQUIRE, [name, id, address, ttl]);
        if (own) return { granted: true, lease: own };
        const [other] = await query<Lease>(LOOKUP, [name]);
        if (other) return { granted: false, lease: other };
        // It ended between the two.
        if (attempt === ATTEMPTS) throw new Error(`lease ${name} is neither free nor held`);
      }
    },
    async renew(leases, ttl) {
      if (leases.length === 0) return new Set();
      const rows = await query<{ name: string }>(RENEW, [...named(leases), ttl]);
      return new Set(rows.map(({ name }) => name));
    },
    async release(leases) {
      if (leases.length > 0) await query(RELEASE, named(leases));
    },
    lookup: async (name) => (await query<Lease>(LOOKUP, [name]))[0],
    list: (prefix) => query<Lease>(LIST, [prefix]),
  };
}
