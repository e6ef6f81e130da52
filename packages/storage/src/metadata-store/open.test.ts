import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { metadataStoreConfig } from "./config.ts";
import { openMetadataStore } from "./open.ts";

describe("metadata store configuration", () => {
  it("is SQLite below ./data unless said otherwise", () => {
    const sqlite = { driver: "sqlite", sqlite: { path: "./data/metadata.db" } };
    expect(metadataStoreConfig.parse(undefined)).toEqual(sqlite);
    expect(metadataStoreConfig.parse({})).toEqual(sqlite);
    expect(metadataStoreConfig.parse({ sqlite: { path: "/var/lib/m.db" } }).sqlite.path).toBe("/var/lib/m.db");
  });

  it.each([
    { driver: "mysql" },
    { path: "m.db" },
    { sqlite: { file: "m.db" } },
    { sqlite: { path: "" } },
    { driver: "postgres" },
    { driver: "postgres", postgres: {} },
    { driver: "postgres", postgres: { url: "postgres://u:p@h/d", urlFile: "/run/url" } },
    { driver: "postgres", postgres: { url: "mysql://u:p@h/d" } },
    { driver: "postgres", postgres: { url: "postgres://u:p@h/d", connections: 1 } },
  ])("refuses %j", (value) => {
    expect(metadataStoreConfig.safeParse(value).success).toBe(false);
  });

  it("takes a PostgreSQL URL and shows it to nobody", () => {
    const url = "postgres://user:sesame@db:5432/registry?sslmode=verify-full";
    const config = metadataStoreConfig.parse({ driver: "postgres", postgres: { url } });
    expect(config.postgres?.url?.reveal()).toBe(url);
    expect(JSON.stringify(config)).not.toContain("sesame");
    const refused = metadataStoreConfig.safeParse({ driver: "postgres", postgres: { url: `${url}&sslmod=x` } });
    expect(refused.success).toBe(false);
    expect(String(refused.error)).not.toContain("sesame");
  });

  it("opens the configured driver", async () => {
    const folder = await mkdtemp(join(tmpdir(), "metadata-open-"));
    const config = metadataStoreConfig.parse({ sqlite: { path: join(folder, "metadata.db") } });
    const store = await openMetadataStore(config, { grace: 1_000 });
    await store.start();
    expect(await store.usage()).toMatchObject({ blobs: 0 });
    await store.close();
    await rm(folder, { recursive: true });
  });
});
