import type { Digest } from "@cache-registry/core/digest";
import { z } from "zod";
import { type HttpClient, type HttpRequest, refusalOf } from "../remote/http-client.ts";
import { createManagementApi } from "../remote/management-api.ts";
import type { CollectedManifest } from "./collect-image.ts";
import type { Source } from "./layout.ts";
import type { RepositoryName } from "./registry-source.ts";

/** `/api/v1/content` and `/api/v1/images` of a running registry. Methods throw HttpRefusal, or the Error of the connection. */
export type ContentClient = {
  hasBlob(name: RepositoryName, digest: Digest): Promise<boolean>;
  hasManifest(name: RepositoryName, digest: Digest): Promise<boolean>;
  putBlob(
    name: RepositoryName,
    blob: { readonly digest: Digest; readonly size: number },
    source: Source,
  ): Promise<void>;
  putManifest(name: RepositoryName, manifest: CollectedManifest, tags: readonly string[]): Promise<void>;
  pin(reference: string, owner: string): Promise<void>;
  /** References of all images that some owner wants. */
  wanted(): AsyncIterable<string>;
};

const Page = z.object({ images: z.array(z.object({ reference: z.string() })) });
const PAGE = 500;

export function createContentClient(http: HttpClient, signal?: AbortSignal): ContentClient {
  const api = createManagementApi(http);

  async function send(request: Omit<HttpRequest, "signal">): Promise<number> {
    const answer = await http.send({ ...request, ...(signal ? { signal } : {}) });
    const status = answer.statusCode ?? 0;
    if (status >= 400 && !(request.method === "HEAD" && status === 404)) throw await refusalOf(answer);
    answer.resume();
    return status;
  }

  function pathOf(
    kind: "blobs" | "manifests",
    name: RepositoryName,
    digest: Digest,
    more: readonly [string, string][] = [],
  ): string {
    const query = new URLSearchParams([["registry", name.registry], ["repository", name.repository], ...more]);
    return `/api/v1/content/${kind}/${encodeURIComponent(digest)}?${query.toString()}`;
  }

  return {
    hasBlob: async (name, digest) => (await send({ method: "HEAD", path: pathOf("blobs", name, digest) })) === 200,
    hasManifest: async (name, digest) =>
      (await send({ method: "HEAD", path: pathOf("manifests", name, digest) })) === 200,
    async putBlob(name, { digest, size }, body) {
      const headers = { "content-type": "application/octet-stream", "content-length": String(size) };
      await send({ method: "PUT", path: pathOf("blobs", name, digest), headers, body });
    },
    async putManifest(name, { digest, mediaType, bytes }, tags) {
      const more: [string, string][] = [["mediaType", mediaType], ...tags.map((tag): [string, string] => ["tag", tag])];
      const headers = { "content-type": "application/octet-stream" };
      await send({ method: "PUT", path: pathOf("manifests", name, digest, more), headers, body: bytes });
    },
    async pin(reference, owner) {
      const path = `/api/v1/content/images/${encodeURIComponent(reference)}`;
      await api.call("PUT", path, { body: { owner }, answer: z.unknown() });
    },
    async *wanted() {
      for (let last = ""; ; ) {
        const path = `/api/v1/images?n=${PAGE}${last === "" ? "" : `&last=${encodeURIComponent(last)}`}`;
        const { images } = await api.call("GET", path, { answer: Page });
        for (const { reference } of images) yield reference;
        last = images.at(-1)?.reference ?? "";
        if (images.length < PAGE) return;
      }
    },
  };
}
