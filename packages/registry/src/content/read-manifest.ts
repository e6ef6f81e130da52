import { type Digest, isDigest } from "@cache-registry/core/digest";
import { CodedError, isCodedError } from "@cache-registry/core/errors";
import type { Logger } from "@cache-registry/runtime/logger";
import { BlobMissingError } from "@cache-registry/storage/blob-store/blob-store";
import type { ManifestRecord, MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { PullRecorder } from "../access/pull-recorder.ts";
import type { ManifestSource, ResolvedManifest } from "../pull-through/manifest-source.ts";
import type { PullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { toClientError } from "../pull-through/upstream-failure.ts";
import type { ManifestDocuments } from "./manifest-documents.ts";
import { isUpstream, type LocalRepository, type Repository } from "./repository.ts";

export type ReadableManifest = ResolvedManifest & { readonly load: () => Promise<Buffer> };

/** @throws CodedError MANIFEST_UNKNOWN, or what the upstream's failure means to a client */
export type ManifestReader = (repository: Repository, reference: string) => Promise<ReadableManifest>;

export type ManifestReaderDeps = {
  readonly metadata: MetadataStore;
  readonly documents: ManifestDocuments;
  readonly source: ManifestSource;
  readonly pulls: PullRecorder;
  readonly metrics: PullThroughMetrics;
  readonly logger: Logger;
};

/** The manifest behind a tag or digest, from the store or through it. */
export function createManifestReader(deps: ManifestReaderDeps): ManifestReader {
  const { metadata, documents, source } = deps;

  async function resolveLocal(repository: LocalRepository, reference: string): Promise<ResolvedManifest> {
    const digest = isDigest(reference) ? reference : (await metadata.tag(repository.name, reference))?.digest;
    const record = digest && (await metadata.manifest(repository.name, digest));
    if (record) return { record, outcome: "hit" };
    const known = await metadata.hasRepository(repository.name);
    throw known ? new CodedError("MANIFEST_UNKNOWN") : new CodedError("NAME_UNKNOWN");
  }

  async function resolve(repository: Repository, reference: string): Promise<ResolvedManifest> {
    if (!isUpstream(repository)) return resolveLocal(repository, reference);
    try {
      return await (isDigest(reference) ? source.byDigest(repository, reference) : source.byTag(repository, reference));
    } catch (error) {
      throw toClientError(error, "manifest");
    }
  }

  /** A document lost or damaged at rest is fetched again; of a local repository there is no other copy. */
  async function load(repository: Repository, record: ManifestRecord): Promise<Buffer> {
    try {
      return await documents.load(record.digest);
    } catch (error) {
      // Out of reach is not lost.
      if (isCodedError(error)) throw error;
      deps.logger.error(
        { err: error, repository: repository.name, digest: record.digest },
        "manifest document unreadable",
      );
      if (!(error instanceof BlobMissingError) || !isUpstream(repository)) throw new CodedError("MANIFEST_UNKNOWN");
      const bytes = await source.refetch(repository, record.digest).catch((cause: unknown) => {
        throw toClientError(cause, "manifest");
      });
      return bytes ?? documents.load(record.digest);
    }
  }

  return async (repository, reference) => {
    const resolved = await resolve(repository, reference);
    const digest: Digest = resolved.record.digest;
    deps.pulls.pulled(repository.name, digest, { byTag: !isDigest(reference) });
    deps.metrics.answered("manifest", repository.upstream ?? "", resolved.outcome);
    return { ...resolved, load: async () => resolved.bytes ?? load(repository, resolved.record) };
  };
}
