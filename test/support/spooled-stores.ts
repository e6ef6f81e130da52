import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Digest } from "@cache-registry/core/digest";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { blobStoreConformance } from "@cache-registry/storage/blob-store/conformance";
import { content, listAll, readBlob } from "@cache-registry/storage/blob-store/conformance/fixtures";
import { sharedBlobStoreConformance } from "@cache-registry/storage/blob-store/conformance/sharing";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";

type Place = { readonly prefix: string; readonly spool: string };

export type SpooledStores<Options> = {
  /** A started store, with a prefix and a spool of its own unless `more` says otherwise; closed after the test. */
  readonly open: (more?: Partial<Options>) => Promise<BlobStore>;
  /** Of the store that was opened last. */
  prefix(): string;
  /** A folder for a spool that the test looks into. */
  spool(name: string): string;
};

/** Stores of one test file in an object store that other hooks start. */
export function useSpooledStores<Options>(
  create: (place: Place, more: Partial<Options> | undefined) => BlobStore,
): SpooledStores<Options> {
  const stores: BlobStore[] = [];
  let work: string;
  let opened = 0;
  const prefix = () => `store-${opened}/`;

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "creg-object-spool-"));
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  return {
    prefix,
    spool: (name) => join(work, name),
    async open(more) {
      opened += 1;
      const store = create({ prefix: prefix(), spool: join(work, String(opened)) }, more);
      stores.push(store);
      await store.start();
      return store;
    },
  };
}

type Shape = { readonly shared?: boolean; readonly prefix?: string; readonly partBytes?: number };

/** What every object store does, alone and for many replicas. `partBytes`: the smallest that it takes. */
export function objectStoreConformance(
  name: string,
  { open, partBytes }: { readonly open: (shape?: Shape) => Promise<BlobStore>; readonly partBytes: number },
): void {
  blobStoreConformance(name, () => open());
  blobStoreConformance(`${name}, shared by replicas`, () => open({ shared: true }));

  let shared = 0;
  sharedBlobStoreConformance(name, (_replica, anew) => {
    if (anew) shared += 1;
    return open({ shared: true, prefix: `shared-${shared}/` });
  });

  it(`${name}: stores sha512 content, also in parts`, async () => {
    const store = await open({ partBytes });
    for (const size of [1_000, partBytes + 10]) {
      const bytes = content(size, 4);
      const digest = `sha512:${createHash("sha512").update(bytes).digest("hex")}` as Digest;
      const writer = await store.create();
      await writer.write(bytes);
      await writer.commit(digest);
      await writer.close();
      expect((await readBlob(store, digest)).equals(bytes)).toBe(true);
      expect(await listAll(store.list())).toContain(digest);
    }
  });
}
