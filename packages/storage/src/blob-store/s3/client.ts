import type { IncomingMessage } from "node:http";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import {
  type AwsCredentials,
  EMPTY_SHA256,
  encodeStrictly,
  presignedUrl,
  queryString,
  signedHeaders,
} from "@cache-registry/runtime/cloud/aws-signature";
import type { Logger } from "@cache-registry/runtime/logger";
import { isTransient, S3ProtocolError, S3ResponseError } from "./errors.ts";
import { connectionError, createTransport } from "./transport.ts";
import { textOf } from "./xml.ts";

/** Milliseconds of silence before a connection is given up, and how long a request is tried again. */
const READ = { idle: 5_000, patience: 2_000 };
const WRITE = { idle: 30_000, patience: 10_000 };
/** Error documents and answers to uploads are small; a page of a list has at most 1,000 keys. */
const MAX_TEXT_BYTES = 8 * 2 ** 20;

export type S3Location = {
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** The bucket is the first part of the path; otherwise of the host name. */
  readonly pathStyle: boolean;
};

export type S3Body = {
  readonly sha256: string;
  readonly length: number;
  /** Called once for each attempt. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
};

export type S3Request = {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Empty: the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: S3Body;
  /** Told of each attempt that failed and may yet have been carried out. */
  readonly onDoubt?: (failure: unknown) => void;
};

export type S3Client = {
  /**
   * A successful answer, whose body the caller reads or destroys. Tried again while the failure may pass.
   * @throws S3ResponseError, S3ConnectionError
   */
  send(request: S3Request): Promise<IncomingMessage>;
  /** The same with the body read. @throws also S3ProtocolError */
  text(request: S3Request): Promise<string>;
  /** Copies an object inside the bucket. */
  copy(from: string, to: string): Promise<void>;
  /** A URL from which anybody may read the object for so many seconds. */
  presign(key: string, expiresIn: number): Promise<string>;
  close(): void;
};

export type S3ClientDeps = {
  readonly location: S3Location;
  readonly credentials: () => Promise<AwsCredentials>;
  readonly logger?: Logger | undefined;
};

export function createS3Client({ location, credentials, logger }: S3ClientDeps): S3Client {
  const { region } = location;
  const transport = createTransport(new URL(location.endpoint).protocol);

  async function attempt(request: S3Request): Promise<IncomingMessage> {
    const { method, key, query, headers, body } = request;
    const url = urlOf(location, key, query);
    const signable = { method, url, headers: headers ?? {}, payloadSha256: body?.sha256 ?? EMPTY_SHA256 };
    const signed = signedHeaders(signable, {
      credentials: await credentials(),
      region,
      service: "s3",
      now: new Date(),
    });
    const length = body?.length ?? (method === "PUT" || method === "POST" ? 0 : undefined);
    const answer = await transport.send({
      method,
      url,
      headers: length === undefined ? signed : { ...signed, "content-length": String(length) },
      // An empty body is one without chunks: nothing to iterate.
      body: body && body.length > 0 ? body.chunks() : undefined,
      idle: isRead(request) ? READ.idle : WRITE.idle,
    });
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    throw responseError(status, await textOfAnswer(answer), describe(request));
  }

  /** Answers of another kind than success are thrown; both kinds of failure are tried again while they may pass. */
  async function persist<Result>(request: S3Request, once: () => Promise<Result>): Promise<Result> {
    const { patience } = isRead(request) ? READ : WRITE;
    const backoff = createBackoff({ initial: 100, max: 2_000, jitter: 0.5 });
    const started = performance.now();
    for (;;) {
      try {
        return await once();
      } catch (error) {
        if (isTransient(error)) request.onDoubt?.(error);
        const delay = backoff.next();
        if (!isTransient(error) || performance.now() - started + delay > patience) throw error;
        logger?.debug({ err: error, attempt: backoff.attempts }, "object store request is tried again");
        await sleep(delay);
      }
    }
  }

  function text(request: S3Request): Promise<string> {
    return persist(request, async () => {
      const body = await textOfAnswer(await attempt(request));
      // Completing an upload or copying may take so long that its failure comes after the status.
      if (/^(?:\s*<\?xml[^>]*\?>)?\s*<Error>/.test(body)) throw responseError(500, body, describe(request));
      return body;
    });
  }

  return {
    send: (request) => persist(request, () => attempt(request)),
    text,
    async copy(from, to) {
      const source = `/${location.bucket}/${from}`.split("/").map(encodeStrictly).join("/");
      await text({ method: "PUT", key: to, headers: { "x-amz-copy-source": source } });
    },
    presign: async (key, expiresIn) =>
      presignedUrl(urlOf(location, key), expiresIn, {
        credentials: await credentials(),
        region,
        service: "s3",
        now: new Date(),
      }),
    close: () => transport.close(),
  };
}

/** @param body of an answer that is no success, or of a 200 that turned into an error while it was sent */
function responseError(status: number, body: string, what: string): S3ResponseError {
  // Its Message may repeat headers of the request; the code says enough.
  const code = textOf(body, "Code") ?? "";
  return new S3ResponseError({ status, code: /^[A-Za-z0-9.]{1,64}$/.test(code) ? code : "", what });
}

function isRead({ method }: S3Request): boolean {
  return method === "GET" || method === "HEAD";
}

/** For messages: no host, no query. */
function describe({ method, key, query }: S3Request): string {
  const parameters = Object.keys(query ?? {});
  return `${method} ${key === "" ? "the bucket" : key}${parameters.length > 0 ? ` (${parameters.join(", ")})` : ""}`;
}

function urlOf({ endpoint, bucket, pathStyle }: S3Location, key: string, query: Record<string, string> = {}): URL {
  const url = new URL(endpoint);
  const base = url.pathname.replace(/\/$/, "");
  if (!pathStyle) url.host = `${bucket}.${url.host}`;
  url.pathname = `${base}${pathStyle ? `/${bucket}` : ""}/${key.split("/").map(encodeStrictly).join("/")}`;
  url.search = queryString(query);
  return url;
}

async function textOfAnswer(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      total += chunk.length;
      if (total > MAX_TEXT_BYTES) throw new S3ProtocolError("the object store sent a document that is too long");
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof S3ProtocolError ? error : connectionError(error);
  }
  return Buffer.concat(chunks, total).toString("utf8");
}
