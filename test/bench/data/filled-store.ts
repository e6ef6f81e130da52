import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Digest } from "@cache-registry/core/digest";
import { digestOfBytes } from "@cache-registry/core/verify";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { createSqliteMetadataStore } from "@cache-registry/storage/metadata-store/sqlite";
import { MANIFEST_TYPE } from "../../support/test-content.ts";

/** Writes that wait for the disk together. */
const TOGETHER = 4_000;

const CONFIG = Buffer.from("{}");

export type FilledStore = {
  readonly metadata: MetadataStore;
  /** Bytes under their digest, as the file-system driver keeps them, without its care for power cuts. */
  putFile(bytes: Buffer): Digest;
  /** Calls `write` for 0 … count - 1, many at once. */
  each(count: number, write: (index: number) => Promise<unknown>): Promise<void>;
  close(): Promise<void>;
};

/** The data folder of a registry that is not running, to be filled much faster than by pushes. */
export async function openFilledStore(data: string): Promise<FilledStore> {
  const folder = join(data, "blobs", "sha256");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const metadata = createSqliteMetadataStore({ path: join(data, "metadata.db"), grace: 3_600_000 });
  await metadata.start();
  return {
    metadata,
    putFile(bytes) {
      const digest = digestOfBytes(bytes);
      writeFileSync(join(folder, digest.slice("sha256:".length)), bytes, { mode: 0o600 });
      return digest;
    },
    async each(count, write) {
      for (let start = 0; start < count; start += TOGETHER) {
        const length = Math.min(TOGETHER, count - start);
        await Promise.all(Array.from({ length }, (_, index) => write(start + index)));
      }
    },
    close: () => metadata.close(),
  };
}

/** A manifest that differs from others by its number, and refers to nothing but a config that all share. */
function manifestBytes(number: number): Buffer {
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOfBytes(CONFIG), size: 2 };
  const annotations = { "org.opencontainers.image.version": String(number) };
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: [], annotations }));
}

export type Contents = {
  readonly repositories: number;
  readonly manifestsEach: number;
  /** Of the first repository, all of its first manifest. */
  readonly tags: number;
};

export const repositoryName = (index: number): string => `bench/group-${index % 100}/app-${index}`;
const tagName = (index: number): string => `v${String(index).padStart(6, "0")}`;

/** Repositories with manifests, each with a tag of its own; different ones in each repository, or one for all when each has one. */
export async function fillWithManifests(data: string, contents: Contents): Promise<void> {
  const { repositories, manifestsEach, tags } = contents;
  const store = await openFilledStore(data);
  const { metadata } = store;
  const now = Date.now();
  const config = { digest: store.putFile(CONFIG), size: CONFIG.length, kind: "blob" as const };
  const shared = manifestsEach === 1 ? manifestBytes(0) : undefined;
  if (shared) store.putFile(shared);
  await store.each(repositories * manifestsEach, async (index) => {
    const repository = { name: repositoryName(index % repositories), upstream: null };
    const bytes = shared ?? manifestBytes(index);
    const digest = shared ? digestOfBytes(shared) : store.putFile(bytes);
    const manifest = {
      digest,
      size: bytes.length,
      mediaType: MANIFEST_TYPE,
      subject: null,
      artifactType: null,
      annotations: {},
    };
    if (index < repositories) {
      await metadata.linkBlob({ repository, digest: config.digest, size: config.size, now });
    }
    const tag = tagName(Math.floor(index / repositories));
    await metadata.putManifest({
      repository,
      manifest,
      references: [config],
      tags: [tag],
      requireReferences: false,
      now,
    });
    if (index !== 0) return;
    for (let first = 0; first < tags; first += 1_000) {
      const names = Array.from({ length: Math.min(1_000, tags - first) }, (_, each) => tagName(first + each));
      await metadata.putManifest({
        repository,
        manifest,
        references: [config],
        tags: names,
        requireReferences: false,
        now,
      });
    }
  });
  await store.close();
}

/** Blobs of one repository that no manifest refers to, out of their grace. */
export async function fillWithGarbage(data: string, count: number): Promise<void> {
  const store = await openFilledStore(data);
  const repository = { name: "bench/garbage", upstream: null };
  await store.each(count, (index) => {
    const bytes = Buffer.from(`garbage ${index}`);
    return store.metadata.linkBlob({ repository, digest: store.putFile(bytes), size: bytes.length, now: 0 });
  });
  await store.close();
}
