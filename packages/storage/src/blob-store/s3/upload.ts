import { createHash } from "node:crypto";
import { algorithmOf, hexOf } from "@cache-registry/core/digest";
import { bodyOf, type Extent, extentsOf, hashOf, sendParts, textBody } from "../object-store/content.ts";
import { StoreProtocolError, StoreResponseError } from "../object-store/errors.ts";
import type { PreparedUpload, Upload, UploadContent } from "../object-store/objects.ts";
import { lengthOf } from "../object-store/requests.ts";
import { rootOf, textOf } from "../object-store/xml.ts";
import { isNoSuchKey } from "./absence.ts";
import type { S3Body, S3Client } from "./client.ts";

/** S3 takes at most 10,000. */
const MAX_PARTS = 9_000;

async function hashedBody(content: UploadContent, extent: Extent): Promise<S3Body> {
  const hash = await hashOf("sha256", content, extent);
  return { ...bodyOf(content, extent), sha256: hash.digest("hex") };
}

/** One request. The server compares what it received with the hash that is signed: with the blob's digest, if it may be. */
export async function putObject(client: S3Client, key: string, { content, digest }: Upload): Promise<void> {
  const whole = { start: 0, length: content.size };
  const body =
    algorithmOf(digest) === "sha256"
      ? { ...bodyOf(content, whole), sha256: hexOf(digest) }
      : await hashedBody(content, whole);
  await client.text({ method: "PUT", key, body });
}

/** Sends the parts. Nothing stays of a failure. */
export async function prepareUpload(
  client: S3Client,
  key: string,
  { content, partBytes }: { readonly content: UploadContent; readonly partBytes: number },
): Promise<PreparedUpload> {
  const begun = await client.text({ method: "POST", key, query: { uploads: "" } });
  const uploadId = textOf(rootOf(begun, "InitiateMultipartUploadResult"), "UploadId");
  if (!uploadId) throw new StoreProtocolError("the object store began an upload without an id");
  const abort = () => abortUpload(client, key, uploadId);
  const extents = extentsOf(content.size, Math.max(partBytes, Math.ceil(content.size / MAX_PARTS)));
  try {
    const etags = await sendParts(extents, async (extent, index) => {
      const body = await hashedBody(content, extent);
      return sendPart(client, key, { uploadId, number: index + 1, body });
    });
    return { complete: () => completeUpload(client, key, { uploadId, etags, size: content.size }), abort };
  } catch (error) {
    await abort().catch(() => undefined);
    throw error;
  }
}

async function sendPart(
  client: S3Client,
  key: string,
  { uploadId, number, body }: { uploadId: string; number: number; body: S3Body },
): Promise<string> {
  const answer = await client.send({ method: "PUT", key, query: { uploadId, partNumber: String(number) }, body });
  answer.resume();
  const { etag } = answer.headers;
  if (etag === undefined) throw new StoreProtocolError("the object store took a part without an ETag");
  return etag;
}

async function completeUpload(
  client: S3Client,
  key: string,
  { uploadId, etags, size }: { uploadId: string; etags: readonly string[]; size: number },
): Promise<void> {
  const parts = etags.map((etag, index) => {
    const escaped = etag.replace(/&/g, "&amp;").replace(/</g, "&lt;");
    return `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escaped}</ETag></Part>`;
  });
  const document = textBody(`<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`);
  const body: S3Body = { ...document, sha256: createHash("sha256").update(document.bytes).digest("hex") };
  try {
    const answer = await client.text({ method: "POST", key, query: { uploadId }, body });
    rootOf(answer, "CompleteMultipartUploadResult");
  } catch (error) {
    // Done by an earlier attempt whose answer was lost?
    const unknown = error instanceof StoreResponseError && error.code === "NoSuchUpload";
    if (!unknown || (await sizeOf(client, key)) !== size) throw error;
  }
}

export async function abortUpload(client: S3Client, key: string, uploadId: string): Promise<void> {
  try {
    await client.text({ method: "DELETE", key, query: { uploadId } });
  } catch (error) {
    if (!(error instanceof StoreResponseError && error.code === "NoSuchUpload")) throw error;
  }
}

/** Bytes, undefined when there is no such object. */
export async function sizeOf(client: S3Client, key: string): Promise<number | undefined> {
  const size = await headSize(client, key);
  if (size !== undefined) return size;
  // An answer to HEAD has no body that says what was not found, or what is wrong with the credentials.
  try {
    const answer = await client.send({ method: "GET", key });
    answer.destroy();
  } catch (error) {
    if (isNoSuchKey(error)) return undefined;
    throw error;
  }
  return headSize(client, key);
}

const UNEXPLAINED: ReadonlySet<number> = new Set([400, 403, 404]);

/** Undefined on any 404, and where the credentials may be the reason. */
async function headSize(client: S3Client, key: string): Promise<number | undefined> {
  try {
    const answer = await client.send({ method: "HEAD", key });
    answer.resume();
    return lengthOf(answer);
  } catch (error) {
    if (error instanceof StoreResponseError && UNEXPLAINED.has(error.status)) return undefined;
    throw error;
  }
}
