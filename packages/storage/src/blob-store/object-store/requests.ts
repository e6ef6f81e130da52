import type { IncomingMessage } from "node:http";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import type { RequestBody } from "./content.ts";
import { isTransient, StoreProtocolError, StoreResponseError } from "./errors.ts";
import { connectionError, createTransport } from "./transport.ts";

/** Milliseconds of silence before a connection is given up, and how long a request is tried again. */
const READ = { idle: 5_000, patience: 2_000 };
const WRITE = { idle: 30_000, patience: 10_000 };
/** Error documents and answers to uploads are small; a page of a list has at most some thousand keys. */
const MAX_TEXT_BYTES = 8 * 2 ** 20;

type Method = "GET" | "HEAD" | "PUT" | "POST" | "DELETE";

/** One HTTP request as a driver made it, ready to be sent. */
export type StoreRequest = {
  readonly method: Method;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: RequestBody | undefined;
};

export type Attempts = {
  readonly method: Method;
  /** For messages: no host, no query, no secret. */
  readonly what: string;
  /** Called for each attempt: signatures have a date, tokens expire. */
  readonly request: () => Promise<StoreRequest>;
  /** Other statuses than 2xx that are answers. */
  readonly accept?: (status: number) => boolean;
  /** Told of each attempt that failed and may yet have been carried out. */
  readonly onDoubt?: ((failure: unknown) => void) | undefined;
  /**
   * Told of each refusal. True: the request would now be made with other credentials, so that it is worth another attempt;
   * asked once for a request. @throws what the source of credentials throws
   */
  readonly renewed?: ((refusal: StoreResponseError) => Promise<boolean>) | undefined;
  /** One attempt: a caller that goes on in another way after a failure. */
  readonly once?: boolean;
};

/** Sends requests to one server, again while the failure may pass. */
export type Requests = {
  /** An answer whose body the caller reads or destroys. @throws StoreResponseError, StoreConnectionError */
  send(attempts: Attempts): Promise<IncomingMessage>;
  /** The same with the body read. @throws also StoreProtocolError */
  text(attempts: Attempts): Promise<string>;
  close(): void;
};

export type RequestsDeps = {
  readonly endpoint: string;
  /** The server's own word for why it refused. `body` is the text of its answer. */
  readonly codeOf: (answer: IncomingMessage, body: string) => string | undefined;
  /** A text of a successful answer that is an error after all. */
  readonly isError?: (text: string) => boolean;
  readonly logger?: Logger | undefined;
};

export function createRequests({ endpoint, codeOf, isError, logger }: RequestsDeps): Requests {
  const transport = createTransport(new URL(endpoint).protocol);

  async function attempt({ method, what, request, accept }: Attempts): Promise<IncomingMessage> {
    const { url, headers, body } = await request();
    const length = body?.length ?? (method === "PUT" || method === "POST" ? 0 : undefined);
    const answer = await transport.send({
      method,
      url,
      headers: length === undefined ? headers : { ...headers, "content-length": String(length) },
      // An empty body is one without chunks: nothing to iterate.
      body: body && body.length > 0 ? body.chunks() : undefined,
      idle: isRead(method) ? READ.idle : WRITE.idle,
    });
    const status = answer.statusCode ?? 0;
    if ((status >= 200 && status < 300) || accept?.(status)) return answer;
    const text = await textOfAnswer(answer);
    throw new StoreResponseError({ status, code: codeOf(answer, text) ?? "", what });
  }

  /** Answers of another kind than success are thrown; both kinds of failure are tried again while they may pass. */
  async function persist<Result>(attempts: Attempts, once: () => Promise<Result>): Promise<Result> {
    const patience = attempts.once ? 0 : (isRead(attempts.method) ? READ : WRITE).patience;
    const backoff = createBackoff({ initial: 100, max: 2_000, jitter: 0.5 });
    const started = performance.now();
    let refused = false;
    for (;;) {
      try {
        return await once();
      } catch (error) {
        if (!refused && error instanceof StoreResponseError && attempts.renewed) {
          refused = true;
          if (await attempts.renewed(error)) continue;
        }
        if (isTransient(error)) attempts.onDoubt?.(error);
        const delay = backoff.next();
        if (!isTransient(error) || performance.now() - started + delay > patience) throw error;
        logger?.debug({ err: error, attempt: backoff.attempts }, "object store request is tried again");
        await sleep(delay);
      }
    }
  }

  return {
    send: (attempts) => persist(attempts, () => attempt(attempts)),
    text: (attempts) =>
      persist(attempts, async () => {
        const answer = await attempt(attempts);
        const text = await textOfAnswer(answer);
        // Completing an upload may take so long that its failure comes after the status.
        if (isError?.(text)) {
          throw new StoreResponseError({ status: 500, code: codeOf(answer, text) ?? "", what: attempts.what });
        }
        return text;
      }),
    close: () => transport.close(),
  };
}

function isRead(method: Method): boolean {
  return method === "GET" || method === "HEAD";
}

/** The bytes that an answer announces. @throws StoreProtocolError */
export function lengthOf(answer: IncomingMessage): number {
  return sizeFrom(answer.headers["content-length"]);
}

/** @throws StoreProtocolError */
export function sizeFrom(text: string | undefined): number {
  const value = Number(text ?? Number.NaN);
  if (!Number.isSafeInteger(value) || value < 0) throw new StoreProtocolError("the object store sent no size");
  return value;
}

async function textOfAnswer(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      total += chunk.length;
      if (total > MAX_TEXT_BYTES) throw new StoreProtocolError("the object store sent a document that is too long");
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof StoreProtocolError ? error : connectionError(error);
  }
  return Buffer.concat(chunks, total).toString("utf8");
}
