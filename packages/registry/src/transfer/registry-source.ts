import type { IncomingMessage } from "node:http";
import { componentToRegistry } from "@cache-registry/core/cache-reference";
import { type Digest, isDigest } from "@cache-registry/core/digest";
import { looksLikeRegistry } from "@cache-registry/core/image-reference";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { MANIFEST_ACCEPT } from "@cache-registry/core/media-type";
import { assertDigest, digestOfBytes } from "@cache-registry/core/verify";
import { z } from "zod";
import { createHttpClient, type HttpClient, refusalOf, textOf } from "../remote/http-client.ts";
import type { Source } from "./layout.ts";
import { bytesOf } from "./verified.ts";

/** A repository of an upstream: `docker.io`, `library/nginx`. */
export type RepositoryName = { readonly registry: string; readonly repository: string };

export type FetchedManifest = { readonly digest: Digest; readonly mediaType: string; readonly bytes: Buffer };

/** A running registry, read over the distribution API by the upstreams' names. */
export type RegistrySource = {
  /** @throws HttpRefusal */
  manifest(name: RepositoryName, reference: string): Promise<FetchedManifest>;
  blob(name: RepositoryName, digest: Digest): Promise<Source>;
  /** Digests of the manifests that refer to this one. */
  referrers(name: RepositoryName, digest: Digest): Promise<Digest[]>;
  /** `<registry>/<repository>:<tag>` of everything cached that has a tag. */
  cachedTags(): AsyncIterable<string>;
};

const Catalog = z.object({ repositories: z.array(z.string()) });
const Tags = z.object({ tags: z.array(z.string()).nullable() });
const Referrers = z.object({ manifests: z.array(z.object({ digest: z.string() })) });

export function createRegistrySource(http: HttpClient): RegistrySource {
  async function get(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
    const answer = await http.send({ method: "GET", path, headers });
    if (answer.statusCode !== 200) throw await refusalOf(answer);
    return answer;
  }

  /** Pages of a listing, by their Link headers. */
  async function* pages<Schema extends z.ZodType>(first: string, schema: Schema): AsyncGenerator<z.output<Schema>> {
    for (let path: string | undefined = first; path !== undefined; ) {
      const answer = await get(path);
      yield schema.parse(JSON.parse(await textOf(answer)));
      [, path] = /<([^>]+)>;\s*rel="next"/.exec(String(answer.headers.link ?? "")) ?? [];
    }
  }

  const pathOf = ({ registry, repository }: RepositoryName, rest: string): string =>
    `/v2/${repository}/${rest}?ns=${encodeURIComponent(registry)}`;

  return {
    async manifest(name, reference) {
      const answer = await get(pathOf(name, `manifests/${reference}`), { accept: MANIFEST_ACCEPT.join(", ") });
      const bytes = await bytesOf(answer, MAX_MANIFEST_BYTES);
      if (isDigest(reference)) assertDigest(bytes, reference);
      const digest = isDigest(reference) ? reference : digestOfBytes(bytes);
      return { digest, bytes, mediaType: answer.headers["content-type"] ?? "" };
    },
    async blob(name, digest) {
      const answer = await http.send({ method: "GET", path: pathOf(name, `blobs/${digest}`) });
      const { location } = answer.headers;
      if (answer.statusCode === 307 && location !== undefined && URL.canParse(location)) {
        answer.resume();
        return elsewhere(new URL(location));
      }
      if (answer.statusCode !== 200) throw await refusalOf(answer);
      return answer;
    },
    async referrers(name, digest) {
      const found: Digest[] = [];
      for await (const { manifests } of pages(pathOf(name, `referrers/${digest}`), Referrers)) {
        for (const each of manifests) if (isDigest(each.digest)) found.push(each.digest);
      }
      return found;
    },
    async *cachedTags() {
      for await (const { repositories } of pages("/v2/_catalog", Catalog)) {
        for (const path of repositories) {
          const name = upstreamName(path);
          if (!name) continue;
          for await (const { tags } of pages(pathOf(name, "tags/list"), Tags)) {
            for (const tag of tags ?? []) yield `${name.registry}/${name.repository}:${tag}`;
          }
        }
      }
    },
  };
}

/** `storage.blobs.redirect`: the store itself sends the bytes, which are verified like any; our credentials are not for it. */
async function* elsewhere({ origin, pathname, search }: URL): Source {
  const client = createHttpClient({ url: origin });
  try {
    const answer = await client.send({ method: "GET", path: `${pathname}${search}` });
    if (answer.statusCode !== 200) throw await refusalOf(answer);
    yield* answer as AsyncIterable<Buffer>;
  } finally {
    client.close();
  }
}

/** Undefined for local repositories. */
function upstreamName(path: string): RepositoryName | undefined {
  const slash = path.indexOf("/");
  const registry = componentToRegistry(path.slice(0, Math.max(0, slash)));
  return slash > 0 && looksLikeRegistry(registry) ? { registry, repository: path.slice(slash + 1) } : undefined;
}
