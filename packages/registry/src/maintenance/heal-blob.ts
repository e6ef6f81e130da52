import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { Logger } from "@cache-registry/runtime/logger";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { DigestLock, HeldLock } from "@cache-registry/storage/blob-store/digest-lock";
import { putBlob } from "@cache-registry/storage/blob-store/put-blob";
import type { BlobHolder, BlobRecord, MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { ManifestDocuments } from "../content/manifest-documents.ts";
import { quarantine } from "../content/quarantine.ts";
import { type UpstreamRepository, upstreamRepository } from "../content/repository.ts";
import { type Verdict, verifyBlob } from "./verify-blob.ts";

/**
 * What became of a damaged or missing blob: `restored` from memory; `refetched` from its upstream; `forgotten`, so that the
 * next pull fetches it; `lost`: it was pushed (or imported), and there is no other copy.
 */
export type HealAction = "restored" | "refetched" | "forgotten" | "lost";

/** Size in bytes. `images`: `<repository>[:tag]` of what needs it. */
export type Finding = {
  readonly digest: Digest;
  readonly size: number;
  readonly problem: Exclude<Verdict, "good">;
  readonly action: HealAction;
  readonly images: readonly string[];
};

/** Fetches the blob or manifest again from this repository's upstream; resolves when it is held. @throws what went wrong */
export type Refetch = (repository: UpstreamRepository, digest: Digest) => Promise<void>;

export type HealDeps = {
  readonly blobs: BlobStore;
  readonly metadata: MetadataStore;
  readonly digestLock: DigestLock;
  readonly documents: Pick<ManifestDocuments, "recall">;
  /** Undefined when there is no way to an upstream now: the next pull has one. */
  readonly refetch?: Refetch | undefined;
  /** No upstream will ever be asked: what is cached is as lost as what was pushed. */
  readonly airGapped: boolean;
  readonly logger: Logger;
};

/** Looks at a suspicious blob once more, with nobody replacing it, and heals what can be. Undefined: it is good, or gone. */
export type HealBlob = (blob: BlobRecord) => Promise<Finding | undefined>;

export function createHealBlob(deps: HealDeps): HealBlob {
  const { blobs, metadata, digestLock, documents, logger } = deps;

  async function setAside(
    { digest, size }: BlobRecord,
    held: HeldLock,
  ): Promise<{ verdict: Verdict; restored: boolean }> {
    if (!(await metadata.blob(digest))) return { verdict: "good", restored: false };
    const verdict = await verifyBlob(blobs, { digest, size });
    if (verdict === "good") return { verdict, restored: false };
    if (verdict === "damaged") await quarantine(blobs, digest, () => held.confirm());
    const known = documents.recall(digest);
    if (known) await putBlob(blobs, digest, known);
    else await metadata.forgetBlob(digest);
    return { verdict, restored: known !== undefined };
  }

  /** True when some upstream gave it again; then it is linked as before. */
  async function refetched({ digest, size }: BlobRecord, holders: readonly BlobHolder[]): Promise<boolean> {
    for (const { repository } of holders) {
      if (!deps.refetch || repository.upstream === null) continue;
      const from = upstreamRepository(repository.upstream, repository.name.slice(repository.upstream.length + 1));
      try {
        await deps.refetch(from, digest);
      } catch (err) {
        logger.warn(
          { digest, repository: repository.name, error: messageOf(err) },
          "damaged content was not refetched",
        );
        continue;
      }
      for (const other of holders) {
        await metadata.linkBlob({ repository: other.repository, digest, now: Date.now() });
      }
      logger.info({ digest, size, repository: repository.name }, "damaged content was refetched");
      return true;
    }
    return false;
  }

  return async (blob) => {
    const { digest, size } = blob;
    const holders = await metadata.blobHolders(digest);
    const { verdict, restored } = await digestLock.run(digest, (held) => setAside(blob, held));
    if (verdict === "good") return undefined;
    const images = holders.flatMap(imagesOf);
    logger.error({ digest, size, problem: verdict, images }, "content at rest is not what its digest says");
    const action = restored
      ? "restored"
      : (await refetched(blob, holders))
        ? "refetched"
        : holders.some(({ repository }) => repository.upstream === null || deps.airGapped)
          ? "lost"
          : "forgotten";
    return { digest, size, problem: verdict, action, images };
  };
}

function imagesOf({ repository, tags }: BlobHolder): string[] {
  return tags.length > 0 ? tags.map((tag) => `${repository.name}:${tag}`) : [repository.name];
}
