import { Secret } from "@cache-registry/runtime/secret";
import { metadataStoreConformance } from "@cache-registry/storage/metadata-store/conformance";
import {
  blobRef,
  CACHED,
  collect,
  digest,
  GRACE,
  LOCAL,
  linkBlob,
  manifestRef,
  NOTHING,
  OTHER,
  putManifest,
  rulesAt,
  sweepAll,
} from "@cache-registry/storage/metadata-store/conformance/fixtures";
import { raceConformance } from "@cache-registry/storage/metadata-store/conformance/races";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { createPostgresMetadataStore } from "@cache-registry/storage/metadata-store/postgres";
import { SCHEMA_VERSION } from "@cache-registry/storage/metadata-store/postgres-schema/migrations";
import { afterAll, describe, expect, it } from "vitest";
import { startPostgresServer } from "../support/postgres-server.ts";

const server = await startPostgresServer();
const url = await server.database();
const connect = (at = url) => createPostgresMetadataStore({ url: new Secret(at), connections: 6, grace: GRACE });
/** Three replicas. */
const stores = [connect(), connect(), connect()] as const;
const [store] = stores;
// All at once on an empty database: one of them makes the tables.
await Promise.all(stores.map((each) => each.start()));
afterAll(async () => {
  await Promise.all(stores.map((each) => each.close()));
  await server.dispose();
});

/** Children first. */
const TABLES = "image_owners images uploads tags manifest_references manifests blob_links blobs reviews repositories";

function empty(): Promise<unknown> {
  return server.query(
    url,
    TABLES.split(" ")
      .map((table) => `DELETE FROM ${table}`)
      .join(";"),
  );
}

/** A store whose every call goes to another of the replicas. */
function anyOf(replicas: readonly MetadataStore[]): MetadataStore {
  let calls = 0;
  return new Proxy(store, {
    get(_target, method: keyof MetadataStore | "then") {
      // It is no promise.
      if (method === "then") return undefined;
      if (method === "close") return async () => {};
      return (...args: readonly unknown[]) => {
        calls += 1;
        const replica = replicas[calls % replicas.length] as unknown as Record<string, (...args: unknown[]) => unknown>;
        return replica[method]?.(...args);
      };
    },
  });
}

metadataStoreConformance("postgres", async () => {
  await empty();
  return { ...store, close: async () => {} };
});

const LOOSE = { name: "team/loose", upstream: null };

describe("several replicas on PostgreSQL", () => {
  raceConformance(async () => {
    await empty();
    return anyOf(stores);
  });

  it("push, link, tag, pull, delete, pin, sweep, evict and collect at once: no deadlock, nothing needed goes, all is counted", async () => {
    await empty();
    const replicas = anyOf(stores);
    let seed = 20_261_121;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    const repositories = [LOCAL, OTHER, CACHED, { name: "quay.io/a/b", upstream: "quay.io" }];
    const one = <Item>(items: readonly Item[]): Item => items[random(items.length)] as Item;
    const name = (kind: string, below: number) => `${kind}-${random(below)}`;
    let now = 0;
    const act = async (): Promise<unknown> => {
      now += 10;
      const number = random(12);
      const [repository, manifest, at] = [one(repositories), `m-${number}`, now];
      const layers = [name("layer", 8), name("layer", 8), name("layer", 8)];
      switch (random(14)) {
        case 0:
        case 1:
        case 2:
          return linkBlob(replicas, one(layers), repository, at);
        case 3:
        case 4: {
          for (const layer of layers) await linkBlob(replicas, layer, repository, at);
          const references = layers.map(blobRef);
          const tags = [name("tag", 6), name("tag", 6)];
          const put = { repository, references, tags, requireReferences: true, now: at };
          // Never in a circle, as digests cannot be.
          const subject = random(3) === 0 && number > 0 ? { subject: name("m", number) } : {};
          return putManifest(replicas, manifest, { ...put, ...subject });
        }
        case 5: {
          const references = [manifestRef(name("m", 12)), manifestRef(name("m", 12))];
          return putManifest(replicas, name("index", 4), { repository, references, tags: [name("tag", 6)], now: at });
        }
        case 6:
          return replicas.deleteTag(repository.name, name("tag", 6), at);
        case 7:
          return replicas.deleteManifest(repository.name, digest(manifest), at);
        case 8:
          // In a repository without manifests: a client may take away a layer that a manifest needs, too.
          await linkBlob(replicas, one(layers), LOOSE, at);
          return replicas.unlinkBlob(LOOSE.name, digest(one(layers)), at);
        case 9:
          return replicas.recordPulls(
            repositories.map((each) => ({ repository: each.name, digest: digest(name("m", 12)), at })),
          );
        case 10:
          return replicas.touchBlobs(
            repositories.map((each) => ({ repository: each.name, digest: digest(one(layers)), at })),
          );
        case 11: {
          const reference = random(2) ? `${CACHED.name}@${digest(manifest)}` : `${CACHED.name}:${name("tag", 6)}`;
          if (random(2)) return replicas.putImage({ reference, owner: name("o", 2), platforms: [], now: at });
          const target = { repository: CACHED.name, tag: name("tag", 6) };
          return replicas.releaseImage({ reference, owner: name("o", 2), target, now: at });
        }
        case 12:
          return random(2)
            ? replicas.evictManifest(null, { now: at, usedBefore: at, pinned: random(2) === 0, fetching: [] }, 3)
            : sweepAll(replicas, rulesAt(at, { unusedFor: 500 }), 5);
        default:
          return collectQuietly(replicas, at);
      }
    };
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        for (let round = 0; round < 60; round++) await act();
      }),
    );

    // Every manifest still has the blobs that it was required to have.
    const broken = await server.query(
      url,
      `SELECT r.name, m.digest, p.child FROM manifests AS m JOIN manifest_references AS p ON p.manifest_id = m.id AND p.kind = 'blob'
       JOIN repositories AS r ON r.id = m.repository_id WHERE NOT EXISTS (
         SELECT 1 FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
         WHERE l.repository_id = m.repository_id AND l.digest = p.child)`,
    );
    expect(broken).toEqual([]);
    const counted = await server.query<Record<string, string>>(
      url,
      `SELECT (SELECT count(*) FROM manifests) AS manifests, (SELECT count(*) FROM blobs WHERE state = 'live') AS blobs,
         (SELECT coalesce(sum(size), 0) FROM blobs WHERE state = 'live') AS bytes,
         (SELECT count(DISTINCT repository_id) FROM manifests) AS repositories,
         (SELECT coalesce(sum(size), 0) FROM blobs AS b WHERE state = 'live' AND NOT EXISTS (
            SELECT 1 FROM blob_links AS l JOIN repositories AS r ON r.id = l.repository_id
            WHERE l.digest = b.digest AND r.upstream IS NULL)) AS "cachedBytes"`,
    );
    const expected = Object.fromEntries(Object.entries(counted[0] ?? {}).map(([key, value]) => [key, Number(value)]));
    expect(await store.usage()).toEqual(expected);
    const queued = await server.query<{ n: string }>(url, "SELECT count(*) AS n FROM reviews");
    expect((await store.reviewBacklog()).length).toBe(Number(queued[0]?.n));

    // Everything goes once nothing refers to it: no event was lost between the replicas.
    for (const { name: repository } of repositories) {
      for (const tag of await store.listTags(repository, { limit: 100 })) await store.deleteTag(repository, tag, now);
    }
    for (const { reference, owners } of await store.listImages({ limit: 100 })) {
      for (const owner of owners) {
        await store.releaseImage({ reference, owner, target: { repository: CACHED.name }, now });
      }
    }
    const later = rulesAt(now + 1_000_000, { untaggedLocal: 0, unusedFor: 0 });
    await sweepAll(store, later, 50);
    await collect(store, later);
    expect(await store.usage()).toEqual(NOTHING);
    expect(await store.reviewBacklog()).toEqual({ nextAt: null, length: 0 });
    const statistics = await server.query<{ deadlocks: string }>(
      url,
      "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    );
    expect(Number(statistics[0]?.deadlocks)).toBe(0);
  });
});

/** As the collector of one replica does, beside those of others. */
async function collectQuietly(replicas: MetadataStore, now: number): Promise<void> {
  const rules = rulesAt(now, { grace: 50, untaggedLocal: 100, unusedFor: 200 });
  for (const task of await replicas.dueReviews(now, 20)) {
    if (task.kind === "manifest") await replicas.reviewManifest(task, rules);
    else {
      const blob = await replicas.beginBlobDeletion(task.digest, rules);
      if (blob) await replicas.finishBlobDeletion(blob.digest, blob.generation);
    }
  }
}

describe("the schema", () => {
  it("is made once by replicas that start together", async () => {
    const fresh = await server.database();
    const replicas = Array.from({ length: 6 }, () => connect(fresh));
    await Promise.all(replicas.map((replica) => replica.start()));
    expect(await server.query(fresh, "SELECT version FROM schema_version")).toEqual([{ version: SCHEMA_VERSION }]);
    await putManifest(replicas[0] as MetadataStore, "m", { tags: ["v1"] });
    expect(await replicas[5]?.tag(CACHED.name, "v1")).toMatchObject({ digest: digest("m") });
    await Promise.all(replicas.map((replica) => replica.close()));
  });

  it("of a newer program is refused, and so is a database that cannot hold every name", async () => {
    const newer = await server.database();
    await server.query(newer, "CREATE TABLE schema_version (version integer); INSERT INTO schema_version VALUES (999)");
    await expect(connect(newer).start()).rejects.toThrow("999");
    await server.query(url, "CREATE DATABASE odd ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    await expect(connect(url.replace(/[^/]*$/, "odd")).start()).rejects.toThrow("UTF8 is needed");
  });

  it("lists in the order of bytes, also in a database of another locale", async () => {
    await server.query(
      url,
      "CREATE DATABASE localised TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE' LOCALE 'C.UTF-8'",
    );
    const localised = connect(url.replace(/[^/]*$/, "localised"));
    await localised.start();
    const tags = ["10", "9", "B", "Z", "a", "a-1", "a.1", "a_1", "b"];
    await putManifest(localised, "m", { tags });
    expect(await localised.listTags(CACHED.name, { limit: 100 })).toEqual(tags);
    expect(await localised.listTags(CACHED.name, { last: "B", limit: 2 })).toEqual(["Z", "a"]);
    await localised.close();
  });
});

describe("values", () => {
  it("with a NUL are refused, long ones and large numbers are kept", async () => {
    await empty();
    await expect(putManifest(store, "m", { tags: ["a\0b"] })).rejects.toMatchObject({ code: "BAD_REQUEST" });
    const manifest = {
      digest: digest("m"),
      mediaType: "x".repeat(20_000),
      size: Number.MAX_SAFE_INTEGER,
      subject: digest("s"),
      artifactType: "y".repeat(20_000),
      annotations: { nul: "a\0b", emoji: "🐘", quotes: `'"\\` },
    };
    const put = { repository: LOCAL, manifest, references: [], tags: ["v1"], requireReferences: false, now: 1 };
    await store.putManifest(put);
    expect(await store.manifest(LOCAL.name, digest("m"))).toEqual(manifest);
    const { artifactType } = manifest;
    expect(await store.referrers(LOCAL.name, digest("s"), { artifactType, limit: 10 })).toEqual([manifest]);
    expect(await store.usage()).toMatchObject({ bytes: Number.MAX_SAFE_INTEGER });
  });

  it("may be thousands of references", async () => {
    await empty();
    const references = Array.from({ length: 20_000 }, (_, index) => blobRef(`r-${index}`));
    await putManifest(store, "wide", { references, tags: ["v1"] });
    expect(await store.references(CACHED.name, digest("wide"))).toEqual(references);
    await store.deleteManifest(CACHED.name, digest("wide"), 1);
    expect(await store.references(CACHED.name, digest("wide"))).toEqual([]);
  });
});
