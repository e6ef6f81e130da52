import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { BlobSource } from "../pull-through/blob-source.ts";
import type { ManifestSource } from "../pull-through/manifest-source.ts";
import type { Refetch } from "./heal-blob.ts";

export type RefetchDeps = {
  readonly metadata: Pick<MetadataStore, "manifest">;
  readonly manifests: Pick<ManifestSource, "refetch">;
  readonly blobs: Pick<BlobSource, "locate">;
};

/** Through the same doors as a pull, behind the pulls of clients: an upstream sees one read, and its limits are kept. */
export function createRefetch({ metadata, manifests, blobs }: RefetchDeps): Refetch {
  return async (repository, digest) => {
    if (await metadata.manifest(repository.name, digest)) return void (await manifests.refetch(repository, digest));
    const location = await blobs.locate(repository, digest, "background");
    if (location.kind === "fetching") await location.fetch.finished;
  };
}
