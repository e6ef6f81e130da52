import { IdentityError } from "./token-source.ts";

export type Environment = Readonly<Record<string, string | undefined>>;
/** As the global one; another may go through a proxy. */
export type Fetch = typeof globalThis.fetch;

export type CloudRequest = {
  readonly method: "GET" | "POST" | "PUT";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** A metadata service on the machine itself: never through a proxy, and quick or not there. */
  readonly local?: boolean;
};

export type CloudAnswer = { readonly status: number; readonly headers: Headers; readonly text: string };

/** Sends one small request to a service of a cloud; redirects are answers. @throws IdentityError without what was sent */
export type SendCloudRequest = (request: CloudRequest) => Promise<CloudAnswer>;

const TIMEOUT_MS = 15_000;
const LOCAL_TIMEOUT_MS = 3_000;
const MAX_ANSWER_BYTES = 256 * 1024;

async function textOf({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new IdentityError("the answer is too long", { transient: false });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Why, as far as it is no secret: fetch hides it under "fetch failed". */
function reasonOf(error: unknown): string {
  if (error instanceof IdentityError) return error.message;
  if (error instanceof Error && error.name === "TimeoutError") return "no answer in time";
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "the connection broke";
  return `cannot be reached (${code})`;
}

export function createCloudRequests(fetch: Fetch = globalThis.fetch): SendCloudRequest {
  return async ({ url, method, headers = {}, body, local = false }) => {
    const send = local ? globalThis.fetch : fetch;
    const signal = AbortSignal.timeout(local ? LOCAL_TIMEOUT_MS : TIMEOUT_MS);
    try {
      const response = await send(url, { method, headers, body: body ?? null, redirect: "manual", signal });
      return { status: response.status, headers: response.headers, text: await textOf(response) };
    } catch (error) {
      throw new IdentityError(`${url.host}: ${reasonOf(error)}`, { transient: true });
    }
  };
}

/** A form as OAuth2 services and AWS take it. */
export function formRequest(url: URL, fields: Readonly<Record<string, string>>): CloudRequest {
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  return { method: "POST", url, headers, body: new URLSearchParams(fields).toString() };
}

/** Error codes of AWS (`__type`, `<Code>`) and OAuth2 (`error`): words that are no secrets. */
export function errorCodeOf(text: string): string | undefined {
  const json = /"(?:__type|error|code)"\s*:\s*"([A-Za-z0-9_.#]{1,100})"/.exec(text);
  return (json ?? /<Code>(\w{1,100})<\/Code>/.exec(text))?.[1];
}

/** Refusals of AWS that come with 400 and pass (STS, "Errors"; "Common Errors"). */
const PASSING: ReadonlySet<string | undefined> = new Set([
  "IDPCommunicationError",
  "Throttling",
  "ThrottlingException",
  "RequestLimitExceeded",
]);

/** For an answer that is not the success asked for. */
export function refusal(url: URL, { status, text }: CloudAnswer): IdentityError {
  const code = errorCodeOf(text);
  const message = `${url.host}: answered ${status}${code === undefined ? "" : ` ${code}`}`;
  return new IdentityError(message, { transient: status >= 500 || status === 429 || PASSING.has(code) });
}

/** For what trying again does not mend. */
export function unusable(message: string): IdentityError {
  return new IdentityError(message, { transient: false });
}

/**
 * Milliseconds until an expiry, by the clock of the server that named it, as ours may be wrong.
 * `expires`: a date (ISO 8601) or seconds since 1970.
 */
export function lifetimeOf(expires: string | number, { headers }: Pick<CloudAnswer, "headers">): number {
  const end = typeof expires === "number" ? expires * 1000 : Date.parse(expires);
  const there = Date.parse(headers.get("date") ?? "");
  const lifetime = end - (Number.isNaN(there) ? Date.now() : there);
  return Number.isNaN(lifetime) ? 0 : Math.max(0, lifetime);
}
