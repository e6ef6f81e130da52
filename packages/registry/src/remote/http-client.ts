import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { STORE_PATIENCE_MS } from "../routes/body.ts";

export type HttpClientOptions = {
  /** Without a slash at the end. */
  readonly url: string;
  /** Value of the Authorization header; asked for each request. */
  readonly authorization?: (() => Promise<string | undefined>) | undefined;
  /** PEM: authorities, or the very certificate that is expected. */
  readonly ca?: string | undefined;
  /** The certificate in `ca` is the server's own: whatever name it is reached by. */
  readonly pinned?: boolean;
};

export type HttpRequest = {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** With a leading slash, encoded; or a whole URL of the same origin. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** A client of one server on node:http, which takes certificate authorities of its own and streams bodies both ways. */
export type HttpClient = {
  /** The answer, whatever its status; the caller reads or destroys it. @throws Error of the connection */
  send(request: HttpRequest): Promise<IncomingMessage>;
  close(): void;
};

/** The server answered with a status that was not hoped for. `message` is its own word. */
export class HttpRefusal extends Error {
  override readonly name = "HttpRefusal";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A connection on which nothing moves, in milliseconds. */
const IDLE_MS = 60_000;
const MAX_TEXT_BYTES = 16 * 2 ** 20;

export function createHttpClient({ url, authorization, ca, pinned = false }: HttpClientOptions): HttpClient {
  const origin = new URL(url);
  const base = origin.pathname.replace(/\/$/, "");
  const secure = origin.protocol === "https:";
  const trust = {
    ...(ca === undefined ? {} : { ca }),
    ...(pinned ? { allowPartialTrustChain: true, checkServerIdentity: () => undefined } : {}),
  };
  const agent = secure
    ? new https.Agent({ keepAlive: true, ...trust })
    : new http.Agent({ keepAlive: true, maxSockets: 16 });

  function urlOf(path: string): URL {
    const target = path.startsWith("/") ? new URL(`${base}${path}`, origin) : new URL(path, origin);
    // The Authorization header goes to nobody else.
    if (target.origin !== origin.origin) throw new Error(`the server points to another origin: ${target.origin}`);
    return target;
  }

  return {
    async send({ method, path, headers = {}, body, signal }) {
      const authorized = await authorization?.();
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      const request = (secure ? https : http).request(urlOf(path), {
        method,
        agent,
        headers: { ...headers, ...(authorized === undefined ? {} : { authorization: authorized }) },
        ...(signal ? { signal } : {}),
      });
      request.once("response", resolve).once("error", reject);
      request.setTimeout(IDLE_MS, () => request.destroy(new Error(`${origin.host} did not answer in time`)));
      // A stream may be a large blob, and the server's store slow.
      if (body !== undefined && !(body instanceof Uint8Array))
        request.once("finish", () => request.setTimeout(STORE_PATIENCE_MS));
      if (body === undefined || body instanceof Uint8Array) request.end(body);
      else pipeline(Readable.from(body), request).catch(reject);
      return promise;
    },
    close: () => agent.destroy(),
  };
}

/** The body as text, at most 16 MiB. */
export async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    total += chunk.length;
    if (total > MAX_TEXT_BYTES) throw new Error("the server sent a document that is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, total).toString("utf8");
}

/** What a refusal says of itself: the message of the spec's error body, else the beginning of its text. */
export async function refusalOf(answer: IncomingMessage): Promise<HttpRefusal> {
  const text = await textOf(answer).catch(() => "");
  const status = answer.statusCode ?? 0;
  try {
    const { errors } = JSON.parse(text) as { errors: { code: string; message: string; detail?: unknown }[] };
    const said = errors.map(({ code, message, detail }) =>
      [`${code}: ${message}`, ...(detail === undefined ? [] : [JSON.stringify(detail)])].join(" "),
    );
    return new HttpRefusal(status, said.join("; "));
  } catch {
    return new HttpRefusal(status, `the server answered ${status} ${text.slice(0, 200)}`.trim());
  }
}
