import { StoreProtocolError } from "../object-store/errors.ts";
import { itemsOf, type Page } from "../object-store/pages.ts";
import { elementsOf, rootOf, textOf } from "../object-store/xml.ts";
import type { S3Client } from "./client.ts";

export function keysBelow(client: S3Client, prefix: string): AsyncGenerator<string> {
  return itemsOf(async (token) => {
    const more: Record<string, string> = token === undefined ? {} : { "continuation-token": token };
    return listPage(await client.text({ method: "GET", key: "", query: { "list-type": "2", prefix, ...more } }));
  });
}

/** One page of ListObjectsV2. @throws StoreProtocolError when it is not whole */
function listPage(document: string): Page {
  const root = rootOf(document, "ListBucketResult");
  const items = elementsOf(root, "Contents").map((object) => {
    const key = textOf(object, "Key");
    if (key === undefined) throw new StoreProtocolError("the object store listed an object without a key");
    return key;
  });
  const outside = root.replace(/<Contents>[\s\S]*?<\/Contents>/g, "");
  const count = textOf(outside, "KeyCount");
  if (count !== undefined && Number(count) !== items.length) {
    throw new StoreProtocolError(`the object store announced ${count} keys and listed ${items.length}`);
  }
  const truncated = textOf(outside, "IsTruncated");
  const next = textOf(outside, "NextContinuationToken");
  if (truncated === "false") return { items, next: undefined };
  if (truncated === "true" && next) return { items, next };
  throw new StoreProtocolError("the object store did not say how its list goes on");
}

/** `initiatedAt` in milliseconds since the epoch; 0 when the server does not say. */
export type AbandonedUpload = { readonly key: string; readonly uploadId: string; readonly initiatedAt: number };

/** Multipart uploads below the prefix that were begun and neither completed nor aborted. */
export async function* abandonedUploads(client: S3Client, prefix: string): AsyncGenerator<AbandonedUpload> {
  // Whoever is told of an upload aborts it: the first page is a different one each time.
  for (let last = ""; ; ) {
    const text = await client.text({ method: "GET", key: "", query: { uploads: "", prefix } });
    const root = rootOf(text, "ListMultipartUploadsResult");
    const uploads = elementsOf(root, "Upload").flatMap((upload) => {
      const [key, uploadId] = [textOf(upload, "Key"), textOf(upload, "UploadId")];
      const initiatedAt = Date.parse(textOf(upload, "Initiated") ?? "") || 0;
      return key?.startsWith(prefix) && uploadId ? [{ key, uploadId, initiatedAt }] : [];
    });
    const first = uploads[0]?.uploadId ?? "";
    yield* uploads;
    if (uploads.length === 0 || textOf(root, "IsTruncated") !== "true" || first === last) return;
    last = first;
  }
}
