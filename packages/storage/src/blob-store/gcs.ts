import type { GoogleServiceAccount } from "@cache-registry/runtime/cloud-identity/google";
import type { TokenSource } from "@cache-registry/runtime/cloud-identity/token-source";
import { z } from "zod";
import type { BlobStore } from "./blob-store.ts";
import { createGcsClient, type GcsLocation } from "./gcs/client.ts";
import { signedUrl } from "./gcs/signed-url.ts";
import { isSessionGone, prepareUpload, putObject } from "./gcs/upload.ts";
import { StoreProtocolError, StoreResponseError } from "./object-store/errors.ts";
import type { Objects } from "./object-store/objects.ts";
import { itemsOf } from "./object-store/pages.ts";
import { sizeFrom } from "./object-store/requests.ts";
import { createObjectBlobStore, type ObjectStoreOptions } from "./object-store/store.ts";

/** `partBytes` is rounded to a multiple of 256 KiB. */
export type GcsOptions = ObjectStoreOptions & {
  readonly location: GcsLocation;
  /** None for servers that want none. */
  readonly tokens?: TokenSource | undefined;
  /** Who signs URLs; without it there are none. */
  readonly signer?: (() => Promise<Pick<GoogleServiceAccount, "email" | "privateKey">>) | undefined;
};

/** Driver on Google Cloud Storage, by its JSON API. */
export function createGcsBlobStore(options: GcsOptions): BlobStore {
  return createObjectBlobStore("gcs", createGcsObjects(options), options);
}

const metadataSchema = z.object({ size: z.string(), generation: z.string().regex(/^\d+$/) });
const rewriteSchema = z.object({ done: z.boolean(), rewriteToken: z.string().optional() });
/** A page without an end is no JSON, and this kind is written into every page. */
const pageSchema = z.object({
  kind: z.literal("storage#objects"),
  items: z.array(z.object({ name: z.string() })).default([]),
  nextPageToken: z.string().min(1).optional(),
});

/** The objects themselves, for what is kept beside the blobs. */
export function createGcsObjects({ location, tokens, signer, logger }: GcsOptions): Objects {
  const client = createGcsClient({ location, tokens, logger });
  const bucket = `/b/${encodeURIComponent(location.bucket)}/o`;
  const objectPath = (key: string) => `/storage/v1${bucket}/${encodeURIComponent(key)}`;
  const target = (key: string) => ({ client, path: `/upload/storage/v1${bucket}`, key });

  const page = (prefix: string, more: Readonly<Record<string, string>>) =>
    client.json(
      { method: "GET", path: `/storage/v1${bucket}`, query: { prefix, ...more }, what: "a list" },
      pageSchema,
    );

  /** A 404 may mean the bucket too, and only the list of the bucket tells. */
  async function orAbsent<Result>(key: string, ask: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const { items } = await page(key, { maxResults: "1" });
      if (items[0]?.name !== key) return undefined;
      return ask();
    }
  }

  const metadata = (key: string) =>
    orAbsent(key, () => client.json({ method: "GET", path: objectPath(key), what: key }, metadataSchema));

  async function sizeOf(key: string): Promise<number | undefined> {
    const found = await metadata(key);
    return found && sizeFrom(found.size);
  }

  return {
    maxCopyBytes: Number.POSITIVE_INFINITY,
    size: sizeOf,
    get: (key, headers) =>
      orAbsent(key, () =>
        client.send({ method: "GET", path: objectPath(key), query: { alt: "media" }, headers, what: key }),
      ),
    put: (key, upload) => putObject(target(key), upload),
    async prepare(key, upload) {
      const prepared = await prepareUpload(target(key), upload);
      return {
        async complete() {
          try {
            await prepared.complete();
          } catch (error) {
            // Done by an earlier attempt whose answer was lost?
            if (!isSessionGone(error) || (await sizeOf(key)) !== upload.content.size) throw error;
          }
        },
        abort: () => prepared.abort(),
      };
    },
    // Only the generation that is there now: however late it is carried out, it takes no bytes that come after.
    async remove(key) {
      const found = await metadata(key);
      if (!found) return;
      const { generation } = found;
      const accept = (status: number) => status === 404;
      const answer = await client.send({
        method: "DELETE",
        path: objectPath(key),
        query: { generation },
        what: key,
        accept,
      });
      answer.resume();
    },
    async copy(from, to) {
      const path = `${objectPath(from)}/rewriteTo${bucket}/${encodeURIComponent(to)}`;
      for (let query = {}; ; ) {
        const { done, rewriteToken } = await client.json({ method: "POST", path, query, what: from }, rewriteSchema);
        if (done) return;
        if (rewriteToken === undefined) throw new StoreProtocolError("the object store broke a copy off");
        query = { rewriteToken };
      }
    },
    keysBelow: (prefix) =>
      itemsOf(async (pageToken) => {
        const { items, nextPageToken } = await page(prefix, pageToken === undefined ? {} : { pageToken });
        return { items: items.map(({ name }) => name), next: nextPageToken };
      }),
    greet: async (prefix) => void (await page(prefix, { maxResults: "1" })),
    ...(signer && {
      presign: async (key, expiresIn) =>
        signedUrl({ location, key, expiresIn, account: await signer(), now: new Date() }),
    }),
    close: () => client.close(),
  };
}

function isNotFound(error: unknown): boolean {
  return error instanceof StoreResponseError && error.status === 404;
}
