import type { Health } from "@cache-registry/runtime/health";
import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { MetadataStore, ReviewRules } from "@cache-registry/storage/metadata-store/metadata-store";
import type { PullRecorder } from "../access/pull-recorder.ts";
import type { Reclaim } from "../gc/reclaim.ts";
import type { BlobSource } from "../pull-through/blob-source.ts";
import type { Disk } from "./disk.ts";
import { createEvictor, type Evictor } from "./evictor.ts";
import { createSpace, type Space } from "./space.ts";
import { createSpaceMetrics, observeSpace } from "./space-metrics.ts";

export type SpaceKeeperDeps = {
  readonly metadata: MetadataStore;
  readonly disk: Disk;
  readonly maxSize: number | undefined;
  readonly blobs: Pick<BlobSource, "underWay">;
  readonly reclaim: Reclaim;
  readonly pulls: PullRecorder;
  readonly rules: Omit<ReviewRules, "now">;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly logger: Logger;
  readonly leads?: () => boolean;
};

/** Quota and disk, and who keeps cached content within them. */
export function createSpaceKeeper(deps: SpaceKeeperDeps): { readonly space: Space; readonly service: Service } {
  const { metadata, disk, maxSize, blobs } = deps;
  const underWay = () => blobs.underWay();
  // Each asks the other: how much is too much, and that it be made less.
  const evictor: Evictor = createEvictor({
    ...deps,
    underWay,
    excess: (mark) => space.excess(mark),
    metrics: createSpaceMetrics(deps.metrics),
  });
  const space: Space = createSpace({ metadata, disk, maxSize, underWay, relieve: () => evictor.relieve() });
  observeSpace({ metadata, disk, quota: () => space.quota() }, deps);
  const start = async (): Promise<void> => {
    await disk.look().catch((err: unknown) => deps.logger.warn({ err }, "the disk cannot be looked at"));
    evictor.start();
  };
  return { space, service: { name: "space", start, stop: () => evictor.stop() } };
}
