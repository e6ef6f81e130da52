import { registryToComponent } from "@cache-registry/core/cache-reference";
import type { MetadataStore, RepositoryKey } from "@cache-registry/storage/metadata-store/metadata-store";
import type { FastifyReply } from "fastify";
import { nextLink, pageOf } from "./page.ts";

/** `GET /v2/_catalog`: Docker's extension. Names as they can be asked for: a registry's port is written `host_5000`. */
export function createCatalog({ metadata }: { metadata: MetadataStore }) {
  return async (reply: FastifyReply, query: URLSearchParams): Promise<FastifyReply> => {
    const page = pageOf(query);
    const repositories = page.limit === 0 ? [] : await metadata.listRepositories(page);
    const last = repositories.at(-1);
    if (last && repositories.length === page.limit) reply.header("link", nextLink("/v2/_catalog", page, last.name));
    return reply.send({ repositories: repositories.map(pathOf) });
  };
}

function pathOf({ name, upstream }: RepositoryKey): string {
  if (upstream === null) return name;
  return `${registryToComponent(upstream) ?? upstream}${name.slice(upstream.length)}`;
}
