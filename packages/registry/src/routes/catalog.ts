import { componentToRegistry, registryToComponent } from "@cache-registry/core/cache-reference";
import type { MetadataStore, Page, RepositoryKey } from "@cache-registry/storage/metadata-store/metadata-store";
import type { FastifyReply } from "fastify";
import { nextLink, pageOf } from "./page.ts";

/** `GET /v2/_catalog`: Docker's extension. Names as they can be asked for: a registry's port is written `host_5000`. */
export function createCatalog({ metadata }: { metadata: MetadataStore }) {
  return async (reply: FastifyReply, query: URLSearchParams): Promise<FastifyReply> => {
    const page = storedPage(pageOf(query));
    const repositories = page.limit === 0 ? [] : await metadata.listRepositories(page);
    const last = repositories.at(-1);
    if (last && repositories.length === page.limit) {
      reply.header("link", nextLink("/v2/_catalog", { limit: page.limit, last: last.name }));
    }
    return reply.send({ repositories: repositories.map(pathOf) });
  };
}

function pathOf({ name, upstream }: RepositoryKey): string {
  if (upstream === null) return name;
  return `${registryToComponent(upstream) ?? upstream}${name.slice(upstream.length)}`;
}

/** A client may go on after a name that we printed. A first component with a dot is never a local repository's. */
function storedPage({ limit, last }: Page): Page {
  if (last === undefined) return { limit };
  const slash = Math.max(0, last.indexOf("/"));
  const first = last.slice(0, slash);
  return { limit, last: first.includes(".") ? `${componentToRegistry(first)}${last.slice(slash)}` : last };
}
