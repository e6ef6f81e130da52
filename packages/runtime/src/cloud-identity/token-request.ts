import { messageOf } from "@cache-registry/core/errors";
import { z } from "zod";
import { type AccessToken, IdentityError } from "./token-source.ts";

export type TokenRequest = {
  /** For messages: who is asked. */
  readonly who: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as a form with POST; GET without it. */
  readonly form?: Readonly<Record<string, string>>;
  /** A fetch that goes through a proxy, say. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly now?: (() => number) | undefined;
};

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;

/** RFC 6749 §5.1. Azure's instance metadata service writes the number as a text. */
const answerSchema = z.object({ access_token: z.string().min(1), expires_in: z.coerce.number().positive() });
/** RFC 6749 §5.2. */
const refusalSchema = z.object({ error: z.string().regex(/^[\w.-]{1,64}$/) });

/** @throws IdentityError */
export async function requestToken(request: TokenRequest): Promise<AccessToken> {
  const { who, url, headers = {}, form, fetch = globalThis.fetch, now = Date.now } = request;
  const asked = now();
  let status: number;
  let text: string;
  try {
    const body = form ? { method: "POST", body: new URLSearchParams(form) } : {};
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    // Redirected nowhere: what is sent may be a credential.
    const response = await fetch(url, { ...body, headers, signal, redirect: "error" });
    status = response.status;
    text = await readText(response);
  } catch (error) {
    throw new IdentityError(`${who} cannot be reached: ${reasonOf(error)}`, { transient: true, cause: error });
  }
  if (status !== 200) {
    const { error = "" } = parse(refusalSchema, text) ?? {};
    const transient = status >= 500 || status === 429 || status === 408;
    throw new IdentityError(`${who} answered ${[status, error].filter(Boolean).join(" ")}`, { transient });
  }
  const answer = parse(answerSchema, text);
  if (!answer) throw new IdentityError(`${who} answered without a token`, { transient: false });
  return { value: answer.access_token, expiresAt: asked + answer.expires_in * 1_000 };
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  if (!response.body) return text;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_ANSWER_BYTES) throw new Error("the answer is too long");
  }
  return text;
}

function parse<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** fetch hides why under "fetch failed". */
function reasonOf(error: unknown): string {
  return messageOf(error instanceof Error && error.cause ? error.cause : error);
}
