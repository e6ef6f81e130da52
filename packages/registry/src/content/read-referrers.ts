import type { Digest } from "@cache-registry/core/digest";
import { isUpstreamError } from "@cache-registry/registry-client/upstream-error";
import type { ManifestRecord, MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { staleWarning } from "../pull-through/freshness.ts";
import type { Outcome } from "../pull-through/pull-through-metrics.ts";
import type { ReferrersSource } from "../pull-through/referrers-source.ts";
import { toClientError } from "../pull-through/upstream-failure.ts";
import { isUpstream, type Repository } from "./repository.ts";

/** A descriptor of the referrers API: artifact type and annotations are those of the manifest itself. */
export type Referrer = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
};

export type ReadableReferrers = {
  /** By digest, strictly after `last`. */
  readonly next: (last: string, limit: number) => Promise<readonly Referrer[]>;
  readonly outcome: Outcome;
  /** Text of a Warning header: the upstream could not be asked. */
  readonly warning?: string;
};

/** @throws CodedError what the upstream's failure means to a client, when nothing is held */
export type ReadReferrers = (
  repository: Repository,
  subject: Digest,
  artifactType: string | null,
) => Promise<ReadableReferrers>;

/** Who refers to a manifest: of a local repository the manifests here, of an upstream's what the upstream says. */
export function createReadReferrers({
  metadata,
  source,
}: {
  metadata: MetadataStore;
  source: ReferrersSource;
}): ReadReferrers {
  const held = (repository: Repository, subject: Digest, artifactType: string | null): ReadableReferrers["next"] => {
    const type = artifactType === null ? {} : { artifactType };
    return async (last, limit) =>
      (await metadata.referrers(repository.name, subject, { last, limit, ...type })).map(referrerOf);
  };

  return async (repository, subject, artifactType) => {
    const local = held(repository, subject, artifactType);
    if (!isUpstream(repository)) return { next: local, outcome: "hit" };
    try {
      const { referrers, ...how } = await source(repository, subject);
      const matching = referrers.filter((each) => artifactType === null || each.artifactType === artifactType);
      return { ...how, next: async (last, limit) => matching.filter(({ digest }) => digest > last).slice(0, limit) };
    } catch (error) {
      // Imported, or pulled by digest before: better than none, and said to be no complete answer.
      if (isUpstreamError(error) && (await local("", 1)).length > 0) {
        return { next: local, outcome: "stale", warning: staleWarning(error.kind, "the referrers") };
      }
      throw toClientError(error, "manifest");
    }
  };
}

function referrerOf({ mediaType, digest, size, artifactType, annotations }: ManifestRecord): Referrer {
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === null ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}
