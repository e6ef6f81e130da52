import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import { type ParsedManifest, parseManifest } from "@cache-registry/core/manifest";
import type { UpstreamClient, UpstreamManifest } from "@cache-registry/registry-client/client";
import { isServableStale, isUpstreamError, UpstreamError } from "@cache-registry/registry-client/upstream-error";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import type { ManifestRecord, MetadataStore, TagRecord } from "@cache-registry/storage/metadata-store/metadata-store";
import type { UpstreamRepository } from "../content/repository.ts";
import type { StoreManifest } from "../content/store-manifest.ts";
import { isFresh, staleWarning, type TagPolicy } from "./freshness.ts";
import { createNegativeCache } from "./negative-cache.ts";
import type { Outcome, PullThroughMetrics } from "./pull-through-metrics.ts";

/** A manifest that the store holds now, and how it came there. */
export type ResolvedManifest = {
  readonly record: ManifestRecord;
  readonly outcome: Outcome;
  /** Text of a Warning header: the digest could not be confirmed upstream. */
  readonly warning?: string;
};

export type ManifestSource = {
  /** @throws UpstreamError when nothing is held and the upstream fails */
  byDigest(repository: UpstreamRepository, digest: Digest): Promise<ResolvedManifest>;
  /** tag → digest: fresh from the store, else confirmed upstream, else stale. */
  byTag(repository: UpstreamRepository, tag: string): Promise<ResolvedManifest>;
  /** The document is known but its bytes are lost: fetch them again. */
  refetch(repository: UpstreamRepository, digest: Digest): Promise<void>;
};

export type ManifestSourceDeps = {
  readonly metadata: MetadataStore;
  readonly client: UpstreamClient;
  readonly storeManifest: StoreManifest;
  readonly tagPolicyOf: (registry: string, tag: string) => TagPolicy;
  readonly metrics: PullThroughMetrics;
  readonly now?: () => number;
};

export function createManifestSource(deps: ManifestSourceDeps): ManifestSource {
  const { metadata, client, now = Date.now } = deps;
  const flights = createSingleFlight<ResolvedManifest>();
  const failures = createNegativeCache({ now });

  async function store(
    repository: UpstreamRepository,
    manifest: UpstreamManifest,
    tags: readonly string[],
  ): Promise<ManifestRecord> {
    const { bytes, digest, mediaType } = manifest;
    const parsed = parse(repository, bytes, mediaType);
    const { record } = await deps.storeManifest({ repository, digest, bytes, parsed, tags, requireReferences: false });
    return record;
  }

  /** Failures of what is not held are remembered briefly: a dead upstream is not asked by every request. */
  async function askOnce<Answer>(key: string, ask: () => Promise<Answer>): Promise<Answer> {
    const failed = failures.get(key);
    if (failed) throw failed;
    try {
      return await ask();
    } catch (error) {
      if (isUpstreamError(error)) failures.remember(key, error);
      throw error;
    }
  }

  function fetch(repository: UpstreamRepository, reference: string, tags: readonly string[]): Promise<ManifestRecord> {
    const { upstream: registry, path, name } = repository;
    return askOnce(`${name} ${reference}`, async () =>
      store(repository, await client.getManifest({ registry, repository: path, reference }), tags),
    );
  }

  /** HEAD does not count against Docker Hub's limit; only a digest that is new costs a GET. */
  async function confirm(repository: UpstreamRepository, held: TagRecord): Promise<ResolvedManifest> {
    const { upstream: registry, path, name } = repository;
    const key = `${name} ${held.name}`;
    const head = await askOnce(key, () => client.headManifest({ registry, repository: path, reference: held.name }));
    const record = head.digest === held.digest ? await metadata.manifest(name, held.digest) : undefined;
    if (!record) return { record: await fetch(repository, head.digest ?? held.name, [held.name]), outcome: "miss" };
    await metadata.markTag(name, held.name, { checkedAt: now(), staleSince: null });
    return { record, outcome: "hit" };
  }

  async function serveStale(
    repository: UpstreamRepository,
    held: TagRecord,
    error: unknown,
  ): Promise<ResolvedManifest> {
    const record = await metadata.manifest(repository.name, held.digest);
    if (!record || !isServableStale(error)) throw error;
    if (held.staleSince === null) await metadata.markTag(repository.name, held.name, { staleSince: now() });
    const reason = isUpstreamError(error) ? error.kind : messageOf(error);
    deps.metrics.staleReason(repository.upstream, isUpstreamError(error) ? error.kind : "other");
    return { record, outcome: "stale", warning: staleWarning(reason) };
  }

  async function revalidate(repository: UpstreamRepository, tag: string): Promise<ResolvedManifest> {
    const held = await metadata.tag(repository.name, tag);
    if (!held) return { record: await fetch(repository, tag, [tag]), outcome: "miss" };
    try {
      return await confirm(repository, held);
    } catch (error) {
      return serveStale(repository, held, error);
    }
  }

  async function fresh(repository: UpstreamRepository, tag: string): Promise<ResolvedManifest | undefined> {
    const held = await metadata.tag(repository.name, tag);
    if (!held || !isFresh(held, deps.tagPolicyOf(repository.upstream, tag), now())) return undefined;
    const record = await metadata.manifest(repository.name, held.digest);
    return record && { record, outcome: "hit" };
  }

  async function joined(key: string, task: () => Promise<ResolvedManifest>): Promise<ResolvedManifest> {
    const running = flights.has(key);
    const resolved = await flights.run(key, task);
    return running && resolved.outcome === "miss" ? { ...resolved, outcome: "joined" } : resolved;
  }

  return {
    async byDigest(repository, digest) {
      const record = await metadata.manifest(repository.name, digest);
      if (record) return { record, outcome: "hit" };
      return joined(`${repository.name}@${digest}`, async () => ({
        record: await fetch(repository, digest, []),
        outcome: "miss",
      }));
    },
    async refetch(repository, digest) {
      await flights.run(`${repository.name}@${digest}`, async () => ({
        record: await fetch(repository, digest, []),
        outcome: "miss",
      }));
    },
    async byTag(repository, tag) {
      const held = await fresh(repository, tag);
      return held ?? joined(`${repository.name}:${tag}`, () => revalidate(repository, tag));
    },
  };
}

/** What an upstream sends may be anything: then it has failed, not the client that asked. */
function parse(repository: UpstreamRepository, bytes: Buffer, mediaType: string): ParsedManifest {
  try {
    return parseManifest(bytes, mediaType);
  } catch (error) {
    const message = `sends something that is no manifest (${messageOf(error)})`;
    throw new UpstreamError(message, { kind: "invalid", registry: repository.upstream, cause: error });
  }
}
