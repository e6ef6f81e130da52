import type { Digest } from "@cache-registry/core/digest";
import type { BlobRecord, MetadataStore, TagRecord } from "../metadata-store.ts";
import type { Reads } from "../sqlite-reads.ts";
import { wasNotAsked } from "./errors.ts";
import type { KnownRows } from "./known-rows.ts";

const keys = {
  tag: (repository: string, name: string) => `tag ${repository} ${name}`,
  manifest: (repository: string, digest: Digest) => `manifest ${repository} ${digest}`,
  references: (repository: string, digest: Digest) => `references ${repository} ${digest}`,
  blob: (digest: Digest) => `blob ${digest}`,
  link: (repository: string, digest: Digest) => `link ${repository} ${digest}`,
  repository: (name: string) => `repository ${name}`,
};

type Known = Pick<Reads, "tag" | "manifest" | "references" | "blob" | "isLinked" | "hasRepository">;

type KnowingWrites = Pick<
  MetadataStore,
  "putManifest" | "deleteManifest" | "deleteTag" | "unlinkBlob" | "forgetBlob" | "reviewManifest" | "beginBlobDeletion"
>;

const present = async (answer: Promise<boolean>): Promise<true | undefined> => (await answer) || undefined;

/** What a pull of known content needs, also while the database cannot be reached. */
export function createKnownReads(reads: Reads, rows: KnownRows): Known {
  return {
    tag: (repository, name) =>
      rows.read<TagRecord>(
        keys.tag(repository, name),
        () => reads.tag(repository, name),
        // A tag of a manifest that is known to be gone is gone.
        ({ digest }) => rows.has(keys.manifest(repository, digest)),
      ),
    manifest: (repository, digest) =>
      rows.read(keys.manifest(repository, digest), () => reads.manifest(repository, digest)),
    async references(repository, digest) {
      const key = keys.references(repository, digest);
      return (await rows.read(key, () => reads.references(repository, digest))) ?? [];
    },
    blob: (digest) => rows.read(keys.blob(digest), () => reads.blob(digest)),
    async isLinked(repository, digest) {
      const answer = await rows.read(
        keys.link(repository, digest),
        () => present(reads.isLinked(repository, digest)),
        () => rows.has(keys.blob(digest)),
      );
      return answer === true;
    },
    async hasRepository(name) {
      return (await rows.read(keys.repository(name), () => present(reads.hasRepository(name)))) === true;
    },
  };
}

/** What was just fetched or pushed is known without being read. */
export function knowLink(rows: KnownRows, repository: string, blob: BlobRecord): void {
  rows.put(keys.blob(blob.digest), blob);
  rows.put(keys.link(repository, blob.digest), true);
}

/** Writes that take rows away, after which they must not be known any more: also one that failed may have done so. */
export function createKnowingWrites(writes: KnowingWrites, rows: KnownRows): KnowingWrites {
  /** Forgets when the write is through, so that a read that overlapped with it is not remembered. */
  async function forgetting<Result>(
    key: string,
    write: () => Promise<Result>,
    removed: (result: Result) => boolean = () => true,
  ): Promise<Result> {
    const [outcome] = await Promise.allSettled([write()]);
    if (outcome.status === "rejected") {
      if (!wasNotAsked(outcome.reason)) rows.forget(key);
      throw outcome.reason;
    }
    if (removed(outcome.value)) rows.forget(key);
    return outcome.value;
  }

  return {
    async putManifest(put) {
      const { repository, manifest, tags } = put;
      const forgetTags = () => {
        for (const name of tags) rows.forget(keys.tag(repository.name, name));
      };
      try {
        const result = await writes.putManifest(put);
        forgetTags();
        if (result.missing.length === 0) rows.put(keys.manifest(repository.name, manifest.digest), manifest);
        return result;
      } catch (error) {
        if (!wasNotAsked(error)) forgetTags();
        throw error;
      }
    },
    deleteManifest: (repository, digest, now) =>
      forgetting(keys.manifest(repository, digest), () => writes.deleteManifest(repository, digest, now)),
    deleteTag: (repository, name, now) =>
      forgetting(keys.tag(repository, name), () => writes.deleteTag(repository, name, now)),
    unlinkBlob: (repository, digest, now) =>
      forgetting(keys.link(repository, digest), () => writes.unlinkBlob(repository, digest, now)),
    forgetBlob: (digest) => forgetting(keys.blob(digest), () => writes.forgetBlob(digest)),
    reviewManifest: (task, rules) =>
      forgetting(
        keys.manifest(task.repository, task.digest),
        () => writes.reviewManifest(task, rules),
        (decision) => decision === "removed",
      ),
    beginBlobDeletion: (digest, rules) =>
      forgetting(
        keys.blob(digest),
        () => writes.beginBlobDeletion(digest, rules),
        (doomed) => doomed !== undefined,
      ),
  };
}
