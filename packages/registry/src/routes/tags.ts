import { CodedError } from "@cache-registry/core/errors";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { Methods } from "./exchange.ts";
import { nextLink, pageOf } from "./page.ts";

/** Distribution spec: listing tags (end-8). For upstream repositories the tags that the cache holds. */
export function tagRoutes({ metadata }: { metadata: MetadataStore }): Methods<object> {
  return {
    async GET({ repository, reply, name, query }) {
      const page = pageOf(query);
      const tags = page.limit === 0 ? [] : await metadata.listTags(repository.name, page);
      if (tags.length === 0 && !(await metadata.hasRepository(repository.name))) throw new CodedError("NAME_UNKNOWN");
      const last = tags.at(-1);
      if (last !== undefined && tags.length === page.limit) {
        const link = nextLink(`/v2/${name}/tags/list`, { limit: page.limit, last }, { ns: query.get("ns") });
        reply.header("link", link);
      }
      return reply.send({ name, tags });
    },
  };
}
