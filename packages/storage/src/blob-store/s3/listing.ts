import type { S3Client } from "./client.ts";
import { S3ProtocolError } from "./errors.ts";
import { elementsOf, listPage, rootOf, textOf } from "./xml.ts";

/**
 * Every key that begins so. @throws S3ProtocolError when a page is not whole: who compares the store with something else must
 * not take the first half for everything
 */
export async function* keysBelow(client: S3Client, prefix: string): AsyncGenerator<string> {
  for (let token: string | undefined; ; ) {
    const more: Record<string, string> = token === undefined ? {} : { "continuation-token": token };
    const text = await client.text({ method: "GET", key: "", query: { "list-type": "2", prefix, ...more } });
    const { items, next } = listPage(text);
    yield* items;
    if (next === undefined) return;
    if (next === token) throw new S3ProtocolError("the object store sends the same page of a list again");
    token = next;
  }
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
