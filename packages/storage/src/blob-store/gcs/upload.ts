import { randomBytes } from "node:crypto";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import { bodyOf, type Extent, hashOf, type RequestBody, textBody } from "../object-store/content.ts";
import { isTransient, StoreProtocolError, StoreResponseError } from "../object-store/errors.ts";
import type { PreparedUpload, Upload } from "../object-store/objects.ts";
import type { GcsClient, GcsRequest } from "./client.ts";

/** Whose upload it is. */
export type UploadTarget = {
  readonly client: GcsClient;
  /** `/upload/storage/v1/b/<bucket>/o` */
  readonly path: string;
  readonly key: string;
};

/** Parts of a resumable upload are multiples of this, but for the last. */
const QUANTUM = 256 * 1024;
/** Milliseconds without progress before an upload is given up. */
const PATIENCE_MS = 10_000;
const OCTETS = "application/octet-stream";

/** Uploads, "multipart": name, hash and bytes in one request. The server refuses bytes that are not of the hash. */
export async function putObject({ client, path, key }: UploadTarget, { content }: Upload): Promise<void> {
  const whole = { start: 0, length: content.size };
  const hash = await hashOf("md5", content, whole);
  const boundary = randomBytes(16).toString("hex");
  const metadata = JSON.stringify({ name: key, md5Hash: hash.digest("base64") });
  const head = textBody(
    `--${boundary}\r\ncontent-type: application/json\r\n\r\n${metadata}\r\n--${boundary}\r\ncontent-type: ${OCTETS}\r\n\r\n`,
  );
  const parts = [head, bodyOf(content, whole), textBody(`\r\n--${boundary}--\r\n`)];
  const answer = await client.send({
    method: "POST",
    path,
    query: { uploadType: "multipart", name: key },
    headers: { "content-type": `multipart/related; boundary=${boundary}` },
    body: joined(parts),
    what: key,
  });
  answer.resume();
}

function joined(parts: readonly RequestBody[]): RequestBody {
  return {
    length: parts.reduce((sum, { length }) => sum + length, 0),
    async *chunks() {
      for (const part of parts) yield* part.chunks();
    },
  };
}

/**
 * Resumable upload (https://cloud.google.com/storage/docs/performing-resumable-uploads): the object is there with its last
 * part and not before. Sessions that nobody ends are forgotten by the server after a week.
 */
export async function prepareUpload(
  target: UploadTarget,
  { content, partBytes }: Upload & { readonly partBytes: number },
): Promise<PreparedUpload> {
  const { size } = content;
  const part = Math.max(QUANTUM, Math.floor(partBytes / QUANTUM) * QUANTUM);
  const hash = await hashOf("md5", content, { start: 0, length: size });
  const session = await beginSession(target, hash.digest("base64"));
  const send = (extent: Extent) => sendPart(session, { body: bodyOf(content, extent), start: extent.start, size });
  let offset = 0;
  try {
    while (size - offset > part) {
      const persisted = await send({ start: offset, length: part });
      if (persisted <= offset || persisted > offset + part) throw unexpected();
      offset = persisted;
    }
  } catch (error) {
    await session.abort().catch(() => undefined);
    throw error;
  }
  return {
    async complete() {
      while (offset < size) {
        const persisted = await send({ start: offset, length: size - offset });
        if (persisted <= offset) throw unexpected();
        offset = persisted;
      }
    },
    abort: () => session.abort(),
  };
}

type Session = {
  /** One attempt to PUT to the session. */
  put(range: string, body?: RequestBody): Promise<PutAnswer>;
  abort(): Promise<void>;
};
/** Bytes that the server has; all of them once the object is there. */
type PutAnswer = { readonly persisted: number };

async function beginSession({ client, path, key }: UploadTarget, md5Hash: string): Promise<Session> {
  const query = { uploadType: "resumable", name: key };
  const begun = await client.send({
    method: "POST",
    path,
    query,
    headers: { "content-type": "application/json", "x-upload-content-type": OCTETS },
    body: textBody(JSON.stringify({ name: key, md5Hash })),
    what: `${key} (resumable)`,
  });
  begun.resume();
  const { location = "" } = begun.headers;
  // Whoever knows the id may upload. Only the id is taken: requests go to the endpoint of the configuration and nowhere else.
  const id = URL.canParse(location) ? new URL(location).searchParams.get("upload_id") : undefined;
  if (!id) throw new StoreProtocolError("the object store began an upload without an id");
  const request = (method: GcsRequest["method"]) => ({
    method,
    path,
    query: { ...query, upload_id: id },
    what: `${key} (resumable)`,
  });
  return {
    async put(range, body) {
      const answer = await client.send({
        ...request("PUT"),
        headers: { "content-range": `bytes ${range}` },
        ...(body && { body }),
        accept: (status) => status === 308,
        once: true,
      });
      answer.resume();
      if (answer.statusCode !== 308) return { persisted: Number.POSITIVE_INFINITY };
      const [, last] = /^bytes=0-(\d+)$/.exec(answer.headers.range ?? "") ?? [];
      return { persisted: last === undefined ? 0 : Number(last) + 1 };
    },
    async abort() {
      // 499 is how it says that it is done; one that is gone already is no error.
      const accept = (status: number) => [499, 404, 410].includes(status);
      const answer = await client.send({ ...request("DELETE"), accept });
      answer.resume();
    },
  };
}

/** Resolves with how far the server is then, at most the end of the part. What it took of a broken attempt is not sent again. */
async function sendPart(
  session: Session,
  { body, start, size }: { readonly body: RequestBody; readonly start: number; readonly size: number },
): Promise<number> {
  const backoff = createBackoff({ initial: 100, max: 2_000, jitter: 0.5 });
  const started = performance.now();
  const end = start + body.length;
  for (let attempt = () => session.put(`${start}-${end - 1}/${size}`, body); ; ) {
    try {
      const { persisted } = await attempt();
      if (persisted > start || performance.now() - started > PATIENCE_MS) return Math.min(persisted, size);
      attempt = () => session.put(`${start}-${end - 1}/${size}`, body);
    } catch (error) {
      const delay = backoff.next();
      if (!isTransient(error) || performance.now() - started + delay > PATIENCE_MS) throw error;
      await sleep(delay);
      // How much arrived?
      attempt = () => session.put(`*/${size}`);
    }
  }
}

function unexpected(): StoreProtocolError {
  return new StoreProtocolError("the object store does not go on with an upload");
}

/** The session is not there: ended, given up, or done by an attempt whose answer was lost. */
export function isSessionGone(error: unknown): boolean {
  return error instanceof StoreResponseError && (error.status === 404 || error.status === 410);
}
