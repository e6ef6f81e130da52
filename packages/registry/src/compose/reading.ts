import { createLiveUpstreams } from "@cache-registry/registry-client/live-upstreams";
import type { RegistryConfig } from "../config.ts";
import { createReadBlob } from "../content/read-blob.ts";
import { createManifestReader } from "../content/read-manifest.ts";
import { createReadReferrers } from "../content/read-referrers.ts";
import { withLentCredentials } from "../lent-credentials/lent-client.ts";
import { createLentCredentials } from "../lent-credentials/lent-credentials.ts";
import { createBlobSource } from "../pull-through/blob-source.ts";
import { createManifestSource } from "../pull-through/manifest-source.ts";
import { createNotStored } from "../pull-through/not-stored.ts";
import { createPullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { createReferrersSource } from "../pull-through/referrers-source.ts";
import type { Process, Stores } from "./stores.ts";

export type Reading = ReturnType<typeof composeReading>;

/** How content is read: from the stores, or through them from the upstreams. */
export function composeReading(config: RegistryConfig, stores: Stores, { logger, metrics, health }: Process) {
  const { replication, digestLock, blobs, guarded, metadata, documents, storeManifest, pulls } = stores;
  const live = createLiveUpstreams({ settings: config, metrics, logger, health });
  const { labelOf } = live;
  const lent = createLentCredentials();
  const client = withLentCredentials(live.client, lent);
  const pullMetrics = createPullThroughMetrics(metrics, labelOf);
  const tagPolicyOf = (registry: string, tag: string) => live.tagRuleOf(registry, tag);
  const notStored = createNotStored({ metrics, logger, labelOf });
  const sourceDeps = { metadata, client, metrics: pullMetrics, notStored };

  const { together } = replication;
  const manifests = createManifestSource({ ...sourceDeps, storeManifest, tagPolicyOf, together });
  const share = replication.shareFetch({ metadata, blobs, client });
  const blobSource = createBlobSource({ ...sourceDeps, blobs: guarded, digestLock, share });
  const referrers = createReferrersSource({ ...sourceDeps, tagPolicyOf });

  const readerDeps = { metadata, pulls, metrics: pullMetrics };
  return {
    live,
    lent,
    tagPolicyOf,
    metrics: pullMetrics,
    /** From the upstreams. */
    sources: { manifests, blobs: blobSource },
    readManifest: createManifestReader({ ...readerDeps, documents, source: manifests, logger }),
    readBlob: createReadBlob({ ...readerDeps, blobs, digestLock, source: blobSource, client }),
    readReferrers: createReadReferrers({ metadata, source: referrers }),
  };
}
