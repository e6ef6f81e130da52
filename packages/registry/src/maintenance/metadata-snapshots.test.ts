import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOfBytes } from "@cache-registry/core/verify";
import { createHealth } from "@cache-registry/runtime/health";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { createMemoryBlobStore } from "@cache-registry/storage/blob-store/memory";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RegistryConfig } from "../config.ts";
import { createMetadataSnapshots } from "./metadata-snapshots.ts";

describe("a database that is new", () => {
  let folder: string;
  let path: string;
  let blobs: BlobStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "creg-new-"));
    path = join(folder, "db", "metadata.db");
    blobs = createMemoryBlobStore();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function holdSomething(): Promise<void> {
    const writer = await blobs.create();
    await writer.write(Buffer.from("pushed long ago"));
    await writer.commit(digestOfBytes(Buffer.from("pushed long ago")));
    await writer.close();
  }

  /** A process that starts; `killed`: as soon as the database is there. Resolves with: are unknown bytes kept? */
  async function start({ killed = false } = {}): Promise<boolean> {
    const config = RegistryConfig.parse({
      storage: {
        blobs: { driver: "memory" },
        metadata: { driver: "sqlite", sqlite: { path } },
        snapshots: { enabled: false },
      },
    });
    const deps = { metrics: createMetrics({ defaultMetrics: false }), health: createHealth(), logger: silentLogger() };
    const { restore, services, keepOrphans } = await createMetadataSnapshots({ config, blobs, ...deps });
    for (const service of restore) await service.start?.(new AbortController().signal);
    await mkdir(join(folder, "db"), { recursive: true });
    await writeFile(path, "the database");
    if (!killed) for (const service of services) await service.start?.(new AbortController().signal);
    return keepOrphans();
  }

  it("beside older content keeps what it does not know", async () => {
    await holdSomething();
    expect([await start(), await start()]).toEqual([true, true]);
  });

  it("is known to be new after a process that was killed before it looked around", async () => {
    await holdSomething();
    await start({ killed: true });
    expect(await start()).toBe(true);
  });

  it("is an ordinary one where there is nothing else", async () => {
    await start({ killed: true });
    expect(await start()).toBe(false);
    await holdSomething();
    expect(await start()).toBe(false);
  });
});
