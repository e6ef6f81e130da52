import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import { referrersTag, type UpstreamReferrer } from "@cache-registry/registry-client/referrers";
import { isServableStale, isUpstreamError } from "@cache-registry/registry-client/upstream-error";
import { createSingleFlight } from "@cache-registry/runtime/single-flight";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { UpstreamRepository } from "../content/repository.ts";
import { isFresh, staleWarning, type TagPolicy } from "./freshness.ts";
import { createNegativeCache } from "./negative-cache.ts";
import { isStoreFailure, type NotStored } from "./not-stored.ts";
import type { Outcome, PullThroughMetrics } from "./pull-through-metrics.ts";

export type KnownReferrers = {
  /** By digest. */
  readonly referrers: readonly UpstreamReferrer[];
  readonly outcome: Outcome;
  /** Text of a Warning header: the upstream could not be asked, or not now. */
  readonly warning?: string;
};

/** @throws UpstreamError when the upstream fails and no answer of it is held */
export type ReferrersSource = (repository: UpstreamRepository, subject: Digest) => Promise<KnownReferrers>;

export type ReferrersSourceDeps = {
  readonly metadata: MetadataStore;
  readonly client: UpstreamClient;
  readonly tagPolicyOf: (registry: string, tag: string) => TagPolicy;
  readonly metrics: PullThroughMetrics;
  readonly notStored: NotStored;
  readonly now?: () => number;
};

/**
 * An answer is as fresh as a tag is, and kept as long as the manifest it is about: signatures are still found while the
 * upstream is down. Of a manifest that is not held no answer is kept, or strangers could fill the store with them.
 */
export function createReferrersSource(deps: ReferrersSourceDeps): ReferrersSource {
  const { metadata, client, metrics, now = Date.now } = deps;
  const flights = createSingleFlight<KnownReferrers>();
  const failures = createNegativeCache({ now });

  /** What the store cannot take is passed on: the upstream's answer is as good. */
  async function keep({ name, upstream }: UpstreamRepository, subject: Digest, referrers: readonly UpstreamReferrer[]) {
    const answer = { document: JSON.stringify(referrers), checkedAt: now() };
    await metadata.putReferrersAnswer(name, subject, answer).catch((error: unknown) => {
      if (!isStoreFailure(error)) throw error;
      deps.notStored("manifest", upstream, error);
    });
  }

  async function ask(repository: UpstreamRepository, subject: Digest): Promise<KnownReferrers> {
    const { name, upstream, path } = repository;
    const key = `${name}@${subject}`;
    const failed = failures.get(key);
    if (failed) throw failed;
    try {
      const referrers = await client.referrers({ registry: upstream, repository: path, subject });
      await keep(repository, subject, referrers);
      return { referrers, outcome: "miss" };
    } catch (error) {
      // A limit is remembered where it is counted, for as long as the upstream says; nothing for longer than once.
      if (isUpstreamError(error) && error.kind !== "rate-limited" && !error.remembered) failures.remember(key, error);
      throw error;
    }
  }

  async function held(repository: UpstreamRepository, subject: Digest) {
    const answer = await metadata.referrersAnswer(repository.name, subject);
    return answer && { ...answer, referrers: JSON.parse(answer.document) as UpstreamReferrer[] };
  }

  return async (repository, subject) => {
    const { name, upstream } = repository;
    const known = await held(repository, subject);
    const policy = deps.tagPolicyOf(upstream, referrersTag(subject));
    if (known && isFresh({ ...known, staleSince: null }, policy, now())) {
      return { referrers: known.referrers, outcome: "hit" };
    }
    try {
      return await flights.run(`${name}@${subject}`, () => ask(repository, subject));
    } catch (error) {
      if (!known || !isServableStale(error)) throw error;
      metrics.staleReason(upstream, isUpstreamError(error) ? error.kind : "other");
      const reason = isUpstreamError(error) ? error.kind : messageOf(error);
      return { referrers: known.referrers, outcome: "stale", warning: staleWarning(reason, "the referrers") };
    }
  };
}
