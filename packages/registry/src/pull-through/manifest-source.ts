import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import { type ParsedManifest, parseManifest } from "@cache-registry/core/manifest";
import type { UpstreamClient, UpstreamManifest } from "@cache-registry/registry-client/client";
import { isServableStale, isUpstreamError, UpstreamError } from "@cache-registry/registry-client/upstream-error";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import { createUrgency, type Priority, type Urgency } from "@cache-registry/runtime/wait-queue";
import type { ManifestRecord, MetadataStore, TagRecord } from "@cache-registry/storage/metadata-store/metadata-store";
import type { UpstreamRepository } from "../content/repository.ts";
import { recordOf, type StoreManifest } from "../content/store-manifest.ts";
import type { Together } from "../replicas/together.ts";
import { isFresh, staleWarning, type TagPolicy } from "./freshness.ts";
import { createNegativeCache } from "./negative-cache.ts";
import { isStoreFailure, type NotStored } from "./not-stored.ts";
import type { Outcome, PullThroughMetrics } from "./pull-through-metrics.ts";

/** A manifest that the store holds now (but for `bytes`), and how it came there. */
export type ResolvedManifest = {
  readonly record: ManifestRecord;
  readonly outcome: Outcome;
  /** Text of a Warning header: the digest could not be confirmed upstream. */
  readonly warning?: string;
  /** The same for the operators of this registry: what failed. */
  readonly staleBecause?: string;
  /** The document, when the store could not take it: nothing is held then. */
  readonly bytes?: Buffer;
};

export type ManifestSource = {
  /** @throws UpstreamError when nothing is held and the upstream fails */
  byDigest(repository: UpstreamRepository, digest: Digest, priority?: Priority): Promise<ResolvedManifest>;
  /** tag → digest: fresh from the store, else confirmed upstream, else stale. */
  byTag(repository: UpstreamRepository, tag: string, priority?: Priority): Promise<ResolvedManifest>;
  /**
   * Asks upstream now, however fresh, frozen or lately refused the tag is.
   * @throws UpstreamError when it cannot say; a held tag is then stale
   */
  refresh(repository: UpstreamRepository, tag: string): Promise<ResolvedManifest>;
  /** The document is known but its bytes are lost: fetch them again. They are the answer when the store cannot take them. */
  refetch(repository: UpstreamRepository, digest: Digest): Promise<Buffer | undefined>;
  /** We are somebody else to the upstream now: what it refused before it may give. */
  forgetFailures(repository: UpstreamRepository): void;
};

export type ManifestSourceDeps = {
  readonly metadata: MetadataStore;
  readonly client: UpstreamClient;
  readonly storeManifest: StoreManifest;
  readonly tagPolicyOf: (registry: string, tag: string) => TagPolicy;
  readonly metrics: PullThroughMetrics;
  readonly notStored: NotStored;
  /** With many replicas. */
  readonly together?: Together | undefined;
  readonly now?: () => number;
};

export function createManifestSource(deps: ManifestSourceDeps): ManifestSource {
  const { metadata, client, now = Date.now } = deps;
  const flights = createSingleFlight<ResolvedManifest>();
  const failures = createNegativeCache({ now });
  const urgencies = new Map<string, Urgency>();

  /** What the store cannot take is passed on: the upstream's answer is as good. */
  async function store(
    repository: UpstreamRepository,
    manifest: UpstreamManifest,
    tags: readonly string[],
  ): Promise<ResolvedManifest> {
    const { bytes, digest, mediaType } = manifest;
    const parsed = parse(repository, bytes, mediaType);
    try {
      const content = { repository, digest, bytes, parsed, tags, requireReferences: false };
      return { record: (await deps.storeManifest(content)).record, outcome: "miss" };
    } catch (error) {
      if (!isStoreFailure(error)) throw error;
      deps.notStored("manifest", repository.upstream, error);
      return { record: recordOf(digest, bytes.length, parsed), bytes, outcome: "bypass" };
    }
  }

  /** What is remembered of a tag is worth less than an answer. */
  async function markTag(...mark: Parameters<MetadataStore["markTag"]>): Promise<void> {
    await metadata.markTag(...mark).catch((error: unknown) => deps.notStored("manifest", "", error));
  }

  /** Failures of what is not held are remembered briefly: a dead upstream is not asked by every request. */
  async function askOnce<Answer>(key: string, ask: () => Promise<Answer>): Promise<Answer> {
    const failed = failures.get(key);
    if (failed) throw failed;
    try {
      return await ask();
    } catch (error) {
      // A limit is remembered where it is counted, for as long as the upstream says; nothing for longer than once.
      if (isUpstreamError(error) && error.kind !== "rate-limited" && !error.remembered) failures.remember(key, error);
      throw error;
    }
  }

  function fetch(
    repository: UpstreamRepository,
    reference: string,
    { tags = [], priority }: { tags?: readonly string[]; priority: Urgency },
  ): Promise<ResolvedManifest> {
    const { upstream: registry, path, name } = repository;
    return askOnce(`${name} ${reference}`, async () =>
      store(repository, await client.getManifest({ registry, repository: path, reference, priority }), tags),
    );
  }

  /** HEAD does not count against Docker Hub's limit; only a digest that is new costs a GET. */
  async function confirm(
    repository: UpstreamRepository,
    held: TagRecord,
    priority: Urgency,
  ): Promise<ResolvedManifest> {
    const { upstream: registry, path, name } = repository;
    const asked = { registry, repository: path, reference: held.name, priority };
    const head = await askOnce(`${name} ${held.name}`, () => client.headManifest(asked));
    const record = head.digest === held.digest ? await metadata.manifest(name, held.digest) : undefined;
    if (!record) return fetch(repository, head.digest ?? held.name, { tags: [held.name], priority });
    await markTag(name, held.name, { checkedAt: now(), staleSince: null });
    return { record, outcome: "hit" };
  }

  async function markStale(repository: UpstreamRepository, held: TagRecord, error: unknown): Promise<void> {
    if (!isServableStale(error) || held.staleSince !== null) return;
    await markTag(repository.name, held.name, { staleSince: now() });
  }

  async function serveStale(
    repository: UpstreamRepository,
    held: TagRecord,
    error: unknown,
  ): Promise<ResolvedManifest> {
    const record = await metadata.manifest(repository.name, held.digest);
    if (!record || !isServableStale(error)) throw error;
    await markStale(repository, held, error);
    const reason = isUpstreamError(error) ? error.kind : messageOf(error);
    deps.metrics.staleReason(repository.upstream, isUpstreamError(error) ? error.kind : "other");
    return { record, outcome: "stale", warning: staleWarning(reason), staleBecause: messageOf(error) };
  }

  async function revalidate(repository: UpstreamRepository, tag: string, priority: Urgency): Promise<ResolvedManifest> {
    const held = await metadata.tag(repository.name, tag);
    if (!held) return fetch(repository, tag, { tags: [tag], priority });
    try {
      return await confirm(repository, held, priority);
    } catch (error) {
      return serveStale(repository, held, error);
    }
  }

  async function askNow(repository: UpstreamRepository, tag: string, priority: Urgency): Promise<ResolvedManifest> {
    const held = await metadata.tag(repository.name, tag);
    failures.forget(`${repository.name} ${tag}`);
    try {
      return await (held ? confirm(repository, held, priority) : fetch(repository, tag, { tags: [tag], priority }));
    } catch (error) {
      if (held) await markStale(repository, held, error);
      throw error;
    }
  }

  async function fresh(repository: UpstreamRepository, tag: string): Promise<ResolvedManifest | undefined> {
    const held = await metadata.tag(repository.name, tag);
    if (!held || !isFresh(held, deps.tagPolicyOf(repository.upstream, tag), now())) return undefined;
    const record = await metadata.manifest(repository.name, held.digest);
    return record && { record, outcome: "hit" };
  }

  /** Among replicas too one asks, and what it stored counts for the others. */
  function once(
    key: string,
    there: () => Promise<ResolvedManifest | undefined>,
    work: () => Promise<ResolvedManifest>,
  ): Promise<ResolvedManifest> {
    if (!deps.together) return work();
    const joining = async (): Promise<ResolvedManifest | undefined> => {
      const resolved = await there();
      return resolved && { ...resolved, outcome: "joined" };
    };
    return deps.together(key, { there: joining, work });
  }

  async function held(repository: UpstreamRepository, digest: Digest): Promise<ResolvedManifest | undefined> {
    const record = await metadata.manifest(repository.name, digest);
    return record && { record, outcome: "hit" };
  }

  type Task = (priority: Urgency) => Promise<ResolvedManifest>;

  /** One at a time per key. Whoever joins in more of a hurry makes it hurry. */
  async function joined(key: string, priority: Priority, task: Task): Promise<ResolvedManifest> {
    const running = flights.has(key);
    const urgency = (running ? urgencies.get(key) : undefined) ?? createUrgency(priority);
    if (priority === "foreground") urgency.raise();
    urgencies.set(key, urgency);
    try {
      const resolved = await flights.run(key, () => task(urgency));
      return running && resolved.outcome === "miss" ? { ...resolved, outcome: "joined" } : resolved;
    } finally {
      if (urgencies.get(key) === urgency) urgencies.delete(key);
    }
  }

  const fetchDigest = (repository: UpstreamRepository, digest: Digest, priority: Priority) =>
    joined(`${repository.name}@${digest}`, priority, (urgency) => fetch(repository, digest, { priority: urgency }));

  return {
    async byDigest(repository, digest, priority = "foreground") {
      const key = `${repository.name}@${digest}`;
      return (
        (await held(repository, digest)) ??
        joined(key, priority, (urgency) =>
          once(
            key,
            () => held(repository, digest),
            () => fetch(repository, digest, { priority: urgency }),
          ),
        )
      );
    },
    async refetch(repository, digest) {
      return (await fetchDigest(repository, digest, "foreground")).bytes;
    },
    forgetFailures: (repository) => failures.forgetAll(`${repository.name} `),
    async byTag(repository, tag, priority = "foreground") {
      const key = `${repository.name}:${tag}`;
      return (
        (await fresh(repository, tag)) ??
        joined(key, priority, (urgency) =>
          once(
            key,
            () => fresh(repository, tag),
            () => revalidate(repository, tag, urgency),
          ),
        )
      );
    },
    refresh: (repository, tag) =>
      joined(`${repository.name}:${tag} refresh`, "foreground", (urgency) => askNow(repository, tag, urgency)),
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
