import type { IncomingMessage } from "node:http";
import { sleep } from "@cache-registry/runtime/backoff";
import type { AzureCredentials } from "./azure/authorization.ts";
import { type AzureClient, type AzureLocation, createAzureClient } from "./azure/client.ts";
import { keysBelow, listPage } from "./azure/listing.ts";
import { isBlockGone, putBlob, putBlockList, putBlocks } from "./azure/upload.ts";
import type { BlobStore } from "./blob-store.ts";
import { StoreProtocolError, StoreResponseError } from "./object-store/errors.ts";
import type { Objects } from "./object-store/objects.ts";
import { lengthOf } from "./object-store/requests.ts";
import { createObjectBlobStore, type ObjectStoreOptions } from "./object-store/store.ts";

export type AzureOptions = ObjectStoreOptions & {
  readonly location: AzureLocation;
  readonly credentials: AzureCredentials;
};

/** Driver on block blobs of Azure Blob storage. */
export function createAzureBlobStore(options: AzureOptions): BlobStore {
  return createObjectBlobStore("azure", createAzureObjects(options), options);
}

/** The objects themselves, for what is kept beside the blobs. */
export function createAzureObjects({ location, credentials, logger }: AzureOptions): Objects {
  const client = createAzureClient({ location, credentials, logger });

  /** Undefined when there is no such blob. */
  async function head(name: string): Promise<IncomingMessage | undefined> {
    const answer = await orAbsent(client.send({ method: "HEAD", name }));
    answer?.resume();
    return answer;
  }

  async function sizeOf(name: string): Promise<number | undefined> {
    const answer = await head(name);
    return answer && lengthOf(answer);
  }

  return {
    maxCopyBytes: Number.POSITIVE_INFINITY,
    size: sizeOf,
    get: (name, headers) => orAbsent(client.send({ method: "GET", name, headers })),
    put: (name, upload) => putBlob(client, name, upload),
    async prepare(name, upload) {
      const blocks = await putBlocks(client, name, upload);
      return {
        async complete() {
          try {
            await putBlockList(client, name, blocks);
          } catch (error) {
            if (!isBlockGone(error)) throw error;
            if ((await sizeOf(name)) === upload.content.size) return;
            await putBlockList(client, name, await putBlocks(client, name, upload));
          }
        },
        // Blocks cannot be taken back: the server forgets them after a week.
        abort: async () => {},
      };
    },
    // Only what is there now: however late it is carried out, it takes no bytes that come after.
    async remove(name) {
      const etag = (await head(name))?.headers.etag;
      if (etag === undefined) return;
      const headers = { "if-match": etag, "x-ms-delete-snapshots": "include" };
      const answer = await orAbsent(client.send({ method: "DELETE", name, headers }));
      answer?.resume();
    },
    copy: (from, to) => copyBlob(client, { from, to, head }),
    keysBelow: (prefix) => keysBelow(client, prefix),
    greet: async (prefix) => void (await listPage(client, { prefix, maxresults: "1" })),
    ...(credentials.kind === "key" && {
      presign: async (name, seconds) => client.presign(await credentials.key(), name, seconds),
    }),
    close: () => client.close(),
  };
}

/** The one answer that says that a blob is not there. Any other 404 says nothing of it. */
async function orAbsent<Result>(asking: Promise<Result>): Promise<Result | undefined> {
  try {
    return await asking;
  } catch (error) {
    if (error instanceof StoreResponseError && error.status === 404 && error.code === "BlobNotFound") return undefined;
    throw error;
  }
}

const COPY_POLL_MS = 500;
const COPY_PATIENCE_MS = 60_000;

/** Inside an account it is usually done at once, but may go on behind. */
async function copyBlob(
  client: AzureClient,
  copy: {
    readonly from: string;
    readonly to: string;
    readonly head: (name: string) => Promise<IncomingMessage | undefined>;
  },
): Promise<void> {
  const headers = { "x-ms-copy-source": await client.sourceUrl(copy.from) };
  const started = performance.now();
  let answer: IncomingMessage | undefined = await client.send({ method: "PUT", name: copy.to, headers });
  answer.resume();
  for (;;) {
    const status = answer?.headers["x-ms-copy-status"];
    if (status === "success") return;
    if (status !== "pending" || performance.now() - started > COPY_PATIENCE_MS) {
      throw new StoreProtocolError("the object store did not finish a copy");
    }
    await sleep(COPY_POLL_MS);
    answer = await copy.head(copy.to);
  }
}
