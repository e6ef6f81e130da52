import type { Digest } from "@cache-registry/core/digest";
import { digestOfBytes } from "@cache-registry/core/verify";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createPullRecorder, type PullRecorder } from "../access/pull-recorder.ts";
import { upstreamRepository } from "../content/repository.ts";
import { createReclaim } from "../gc/reclaim.ts";
import type { FetchUnderWay } from "../pull-through/blob-source.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import type { DiskState } from "./disk.ts";
import { createEvictor, type Evictor, type EvictorDeps } from "./evictor.ts";
import { createSpace, type Space } from "./space.ts";

const GRACE = 3_600_000;
const MANIFEST_SIZE = 10;
/** Between the times at which one image and the next came, in milliseconds. */
const STEP = 1_000;

const repository = upstreamRepository("docker.io", "library/nginx");
export const digestOf = (name: string): Digest => digestOfBytes(Buffer.from(name));
export const layerOf = (name: string): Digest => digestOf(`layer of ${name}`);

/** `size`: bytes of manifest and layer. `usedAt`: default one second after the one before, long ago. */
type Cached = { readonly size?: number; readonly pinned?: boolean; readonly usedAt?: number };
type Changes = Partial<Omit<EvictorDeps, "metadata">> & { readonly metadata?: Partial<EvictorDeps["metadata"]> };

/** For unit tests: cached content in the real metadata store, the real rules, and an evictor for it. */
export type Scene = {
  readonly stores: TestStores;
  readonly pulls: PullRecorder;
  readonly space: Space;
  readonly world: { underWay: FetchUnderWay[]; full: boolean; disk: DiskState | undefined };
  /** What was evicted, and `loose` bytes. */
  readonly gone: { reason: string; pinned: boolean; bytes: number }[];
  loose(): number;
  cache(name: string, cached?: Cached): Promise<void>;
  /** A blob that no manifest refers to, linked now unless said otherwise. */
  link(name: string, size: number, at?: number): Promise<void>;
  pulled(name: string): void;
  /** Which of the images that were cached are still there, in the order in which they came. */
  held(): Promise<string[]>;
  /** Fresh, not started. */
  evictor(changes?: Changes): Evictor;
  /** What the first turn after a start does, and a relief after it. */
  pass(changes?: Changes): Promise<void>;
  dispose(): Promise<void>;
};

export async function openScene(maxSize: number): Promise<Scene> {
  const stores = await openTestStores(GRACE);
  const { metadata } = stores;
  const logger = silentLogger();
  const pulls = createPullRecorder({ metadata, logger });
  const world: Scene["world"] = { underWay: [], full: false, disk: undefined };
  const disk = {
    get full() {
      return world.full;
    },
    get state() {
      return world.disk;
    },
    look: async () => world.disk,
  };
  const underWay = () => world.underWay;
  const space = createSpace({ metadata, disk, maxSize, underWay, relieve: () => evictor().relieve() });
  const gone: Scene["gone"] = [];
  const names: string[] = [];
  let loose = 0;

  function evictor({ metadata: changed, ...changes }: Changes = {}): Evictor {
    return createEvictor({
      metadata: {
        evictManifest: (...step) => metadata.evictManifest(...step),
        dueReviews: (...page) => metadata.dueReviews(...page),
        ...changed,
      },
      reclaim: createReclaim({ ...stores, pulls }),
      pulls,
      disk,
      excess: (mark) => space.excess(mark),
      underWay,
      rules: { grace: GRACE, untaggedLocal: "keep", unusedFor: 30 * 86_400_000 },
      metrics: {
        evicted: (why, bytes) => gone.push({ ...why, bytes }),
        freed: (_what, bytes) => {
          loose += bytes;
        },
      },
      logger,
      ...changes,
    });
  }

  async function link(name: string, size: number, at = Date.now()): Promise<void> {
    await metadata.linkBlob({ repository, digest: digestOf(name), size, now: at });
  }

  return {
    stores,
    pulls,
    space,
    world,
    gone,
    loose: () => loose,
    link,
    evictor,
    async cache(name, { size = 200, pinned = false, usedAt = Date.now() - GRACE + STEP * names.length } = {}) {
      names.push(name);
      const layer = size - MANIFEST_SIZE;
      await link(`layer of ${name}`, layer, usedAt);
      await metadata.putManifest({
        repository,
        manifest: {
          digest: digestOf(name),
          mediaType: "application/vnd.oci.image.manifest.v1+json",
          size: MANIFEST_SIZE,
          subject: null,
          artifactType: null,
          annotations: {},
        },
        references: [{ digest: layerOf(name), kind: "blob", size: layer }],
        tags: [name],
        requireReferences: false,
        now: usedAt,
      });
      if (!pinned) return;
      const reference = `${repository.name}@${digestOf(name)}`;
      await metadata.putImage({ reference, owner: "a", platforms: [], now: 0, pinnedUntil: Date.now() + GRACE });
    },
    pulled: (name) => pulls.pulled(repository.name, digestOf(name)),
    async held() {
      const records = await Promise.all(names.map((name) => metadata.manifest(repository.name, digestOf(name))));
      return names.filter((_, index) => records[index]);
    },
    async pass(changes) {
      const one = evictor(changes);
      one.start();
      // In turn: it waits for the first one of the loop.
      await one.relieve();
      await one.stop();
    },
    dispose: () => stores.dispose(),
  };
}
