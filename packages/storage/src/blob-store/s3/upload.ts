import { createHash } from "node:crypto";
import { algorithmOf, type Digest, hexOf } from "@cache-registry/core/digest";
import type { S3Body, S3Client } from "./client.ts";
import { isNoSuchKey, S3ProtocolError, S3ResponseError } from "./errors.ts";
import { rootOf, textOf } from "./xml.ts";

/** Bytes at rest on the local disk. */
export type UploadContent = {
  readonly size: number;
  readAt(buffer: Uint8Array, position: number): Promise<number>;
};

/** A multipart upload whose parts are all there: invisible until it is completed. */
export type PreparedUpload = {
  complete(): Promise<void>;
  abort(): Promise<void>;
};

/** Parts of one blob on their way at a time: enough to fill a connection, few enough to share the machine. */
const PARTS_AT_ONCE = 3;
/** S3 takes at most 10,000. */
const MAX_PARTS = 9_000;
const CHUNK_BYTES = 128 * 1024;

/** Reads again for each pass and each attempt, so that a part never is in memory as a whole. */
async function* chunksOf(content: UploadContent, start: number, length: number): AsyncGenerator<Uint8Array> {
  for (let position = start; position < start + length; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, start + length - position));
    const count = await content.readAt(buffer, position);
    if (count === 0) throw new Error("the spooled file is shorter than its size");
    position += count;
    yield buffer.subarray(0, count);
  }
}

async function bodyOf(content: UploadContent, start: number, length: number): Promise<S3Body> {
  const hash = createHash("sha256");
  for await (const chunk of chunksOf(content, start, length)) hash.update(chunk);
  return { sha256: hash.digest("hex"), length, chunks: () => chunksOf(content, start, length) };
}

/** One request. The server compares what it received with the hash that is signed: with the blob's digest, if it may be. */
export async function putObject(
  client: S3Client,
  key: string,
  { content, digest }: { readonly content: UploadContent; readonly digest: Digest },
): Promise<void> {
  const { size } = content;
  const verified = algorithmOf(digest) === "sha256";
  const body = verified
    ? { sha256: hexOf(digest), length: size, chunks: () => chunksOf(content, 0, size) }
    : await bodyOf(content, 0, size);
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
  if (!uploadId) throw new S3ProtocolError("the object store began an upload without an id");
  const upload: PreparedUpload = {
    complete: () => completeUpload(client, key, { uploadId, etags, size: content.size }),
    abort: () => abortUpload(client, key, uploadId),
  };
  const length = Math.max(partBytes, Math.ceil(content.size / MAX_PARTS));
  const count = Math.ceil(content.size / length);
  const etags: string[] = [];
  let next = 0;
  let failed = false;
  const sendParts = async (): Promise<void> => {
    while (next < count && !failed) {
      const index = next;
      next += 1;
      const start = index * length;
      const body = await bodyOf(content, start, Math.min(length, content.size - start));
      etags[index] = await sendPart(client, key, { uploadId, number: index + 1, body });
    }
  };
  const senders = Array.from({ length: Math.min(PARTS_AT_ONCE, count) }, () =>
    sendParts().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  // All have ended before the upload is given up: a part that comes later would stay for ever.
  const failure = (await Promise.allSettled(senders)).find(({ status }) => status === "rejected");
  if (failure?.status !== "rejected") return upload;
  await upload.abort().catch(() => undefined);
  throw failure.reason;
}

async function sendPart(
  client: S3Client,
  key: string,
  { uploadId, number, body }: { uploadId: string; number: number; body: S3Body },
): Promise<string> {
  const answer = await client.send({ method: "PUT", key, query: { uploadId, partNumber: String(number) }, body });
  answer.resume();
  const { etag } = answer.headers;
  if (etag === undefined) throw new S3ProtocolError("the object store took a part without an ETag");
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
  const document = Buffer.from(`<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`);
  const body: S3Body = {
    sha256: createHash("sha256").update(document).digest("hex"),
    length: document.length,
    async *chunks() {
      yield document;
    },
  };
  try {
    const answer = await client.text({ method: "POST", key, query: { uploadId }, body });
    rootOf(answer, "CompleteMultipartUploadResult");
  } catch (error) {
    // Done by an earlier attempt whose answer was lost?
    const unknown = error instanceof S3ResponseError && error.code === "NoSuchUpload";
    if (!unknown || (await sizeOf(client, key)) !== size) throw error;
  }
}

export async function abortUpload(client: S3Client, key: string, uploadId: string): Promise<void> {
  try {
    await client.text({ method: "DELETE", key, query: { uploadId } });
  } catch (error) {
    if (!(error instanceof S3ResponseError && error.code === "NoSuchUpload")) throw error;
  }
}

/** Bytes, undefined when there is no such object. */
export async function sizeOf(client: S3Client, key: string): Promise<number | undefined> {
  const size = await headSize(client, key);
  if (size !== undefined) return size;
  // An answer to HEAD has no body that says what was not found.
  try {
    const answer = await client.send({ method: "GET", key });
    answer.destroy();
  } catch (error) {
    if (isNoSuchKey(error)) return undefined;
    throw error;
  }
  return headSize(client, key);
}

/** Undefined on any 404. */
async function headSize(client: S3Client, key: string): Promise<number | undefined> {
  try {
    const answer = await client.send({ method: "HEAD", key });
    answer.resume();
    const size = Number(answer.headers["content-length"] ?? Number.NaN);
    if (!Number.isSafeInteger(size)) throw new S3ProtocolError("the object store sent no size");
    return size;
  } catch (error) {
    if (error instanceof S3ResponseError && error.status === 404) return undefined;
    throw error;
  }
}
