import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";

export type Environment = Readonly<Record<string, string | undefined>>;

export type CloudRequest = {
  readonly method: "GET" | "POST" | "PUT";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** A metadata service on the machine itself: never through a proxy, and quick or not there. */
  readonly local?: boolean;
};

export type CloudAnswer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };

/** Sends one small request to a service of a cloud; redirects are answers. @throws CloudError */
export type SendCloudRequest = (request: CloudRequest) => Promise<CloudAnswer>;

/** `message` names host and reason, never what was sent or received: both are secrets. */
export class CloudError extends Error {
  override readonly name = "CloudError";
}

const TIMEOUT_MS = 15_000;
const LOCAL_TIMEOUT_MS = 3_000;
const MAX_ANSWER_BYTES = 256 * 1024;

async function textOf(answer: IncomingMessage, fail: (why: string) => CloudError): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw fail("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment count. */
export function createCloudRequests(env: Environment = process.env): SendCloudRequest {
  const proxied = { http: new HttpAgent({ proxyEnv: env }), https: new HttpsAgent({ proxyEnv: env }) };
  const direct = { http: new HttpAgent(), https: new HttpsAgent() };

  function open({ url, method, headers, body, local = false }: CloudRequest, signal: AbortSignal) {
    const agents = local ? direct : proxied;
    const options = {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }) },
      signal,
    };
    return url.protocol === "https:"
      ? httpsRequest(url, { ...options, agent: agents.https })
      : httpRequest(url, { ...options, agent: agents.http });
  }

  return async (asked) => {
    const { url, body, local } = asked;
    const fail = (why: string): CloudError => new CloudError(`${url.host}: ${why}`);
    const signal = AbortSignal.timeout(local ? LOCAL_TIMEOUT_MS : TIMEOUT_MS);
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const request = open(asked, signal);
        request.once("response", resolve);
        request.on("error", reject);
        request.end(body);
      });
      return { status: answer.statusCode ?? 0, headers: answer.headers, text: await textOf(answer, fail) };
    } catch (error) {
      if (error instanceof CloudError) throw error;
      const { code } = error as NodeJS.ErrnoException;
      throw fail(signal.aborted ? "no answer in time" : `cannot be reached (${code ?? "the connection broke"})`);
    }
  };
}

/** Sends a form as OAuth2 services take it. */
export function formRequest(url: URL, fields: Readonly<Record<string, string>>): CloudRequest {
  const headers = { accept: "application/json", "content-type": "application/x-www-form-urlencoded" };
  return { method: "POST", url, headers, body: new URLSearchParams(fields).toString() };
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Error codes of AWS (`__type`, `<Code>`) and OAuth2 (`error`): words that are no secrets. */
export function errorCodeOf(text: string): string | undefined {
  const code =
    /"(?:__type|error|code)"\s*:\s*"([A-Za-z0-9_.#]{1,100})"/.exec(text) ?? /<Code>(\w{1,100})<\/Code>/.exec(text);
  return code?.[1];
}

/** For an answer that is not the success asked for. */
export function refusal(url: URL, { status, text }: CloudAnswer): CloudError {
  const code = errorCodeOf(text);
  return new CloudError(`${url.host}: answered ${status}${code === undefined ? "" : ` ${code}`}`);
}

/**
 * Milliseconds until an expiry, by the clock of the server that named it, as ours may be wrong.
 * `expires`: a date (ISO 8601) or seconds since 1970.
 */
export function lifetimeOf(expires: string | number, { headers }: Pick<CloudAnswer, "headers">): number {
  const end = typeof expires === "number" ? expires * 1000 : Date.parse(expires);
  const there = Date.parse(headers.date ?? "");
  const lifetime = end - (Number.isNaN(there) ? Date.now() : there);
  return Number.isNaN(lifetime) ? 0 : Math.max(0, lifetime);
}
