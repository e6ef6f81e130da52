import type { RepositoryKey } from "@cache-registry/storage/metadata-store/metadata-store";

/** A repository whose content comes from an upstream only. */
export type UpstreamRepository = RepositoryKey & {
  /** `<registry>/<repository>`: the key in the metadata store. */
  readonly name: string;
  /** The registry as image references name it, e.g. `docker.io`, `harbor.local:5000`. */
  readonly upstream: string;
  /** The repository at the upstream, e.g. `library/nginx`. */
  readonly path: string;
};

/** A repository that takes pushes. */
export type LocalRepository = RepositoryKey & { readonly name: string; readonly upstream: null };

export type Repository = UpstreamRepository | LocalRepository;

export function upstreamRepository(registry: string, path: string): UpstreamRepository {
  return { name: `${registry}/${path}`, upstream: registry, path };
}

export function localRepository(name: string): LocalRepository {
  return { name, upstream: null };
}

export function isUpstream(repository: Repository): repository is UpstreamRepository {
  return repository.upstream !== null;
}
