/** Every statement of the driver for PostgreSQL is planned on the real schema: none may read a whole table. */
import { Secret } from "@cache-registry/runtime/secret";
import { createPostgresMetadataStore } from "@cache-registry/storage/metadata-store/postgres";
import { definedStatements } from "@cache-registry/storage/metadata-store/postgres/statement";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type PostgresServer, startPostgresServer } from "../support/postgres-server.ts";

let server: PostgresServer;
let url: string;

beforeAll(async () => {
  server = await startPostgresServer();
  url = await server.database();
  const store = createPostgresMetadataStore({ url: new Secret(url), connections: 2, grace: 1_000 });
  await store.start();
  await store.close();
});
afterAll(() => server?.dispose());

it("finds rows by an index", async () => {
  const texts = definedStatements().map(({ text }) => text);
  expect(texts.length).toBeGreaterThan(60);
  // Small by nature, or all of it wanted.
  const whole = /Seq Scan on (?:counters|counter_changes)/;
  const plans: string[] = [];
  for (const text of texts.filter((each) => !/^(?:LOCK|SELECT set_config)/.test(each))) {
    const rows = await server.query<{ "QUERY PLAN": string }>(
      url,
      `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; PREPARE statement AS ${text};
       EXPLAIN EXECUTE statement${parameters(text)}`,
    );
    plans.push(rows.map((row) => row["QUERY PLAN"]).join("\n"));
  }
  const scans = plans.flatMap((plan) => plan.split("\n").filter((line) => /Seq Scan/.test(line) && !whole.test(line)));
  expect(scans).toEqual([]);
});

/** `(NULL, NULL)` for as many as the statement has. */
function parameters(text: string): string {
  const count = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)));
  return count === 0 ? "" : `(${Array.from({ length: count }, () => "NULL").join(", ")})`;
}
