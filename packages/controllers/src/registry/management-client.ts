import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { createDeadline } from "@cache-registry/kube/deadline";
import { z } from "zod";
import type { RegistryAuthorities } from "./registry-authorities.ts";

/** An image as the registry's management API describes it. */
export const RegistryImage = z.object({
  reference: z.string(),
  digest: z.string().nullish(),
  state: z.enum(["pending", "pulling", "ready", "stale", "failed"]),
  size: z.number().nullish(),
  cachedBytes: z.number().nullish(),
  /** When the upstream last said which digest a tag has; null for digests. */
  checkedAt: z.string().nullish(),
  /** Until when the registry serves a tag without asking; null where it never asks. */
  freshUntil: z.string().nullish(),
  /** Percent. */
  progress: z.number().nullish(),
  error: z.string().nullish(),
  /** What kind of error; `NoSpace`: it does not fit beside what is pinned. */
  reason: z.string().nullish(),
});
export type RegistryImage = z.infer<typeof RegistryImage>;

const ImagePage = z.object({ images: z.array(z.object({ reference: z.string() })) });
const Stats = z.object({ startedAt: z.union([z.string(), z.number()]) });
const ErrorBody = z.object({ errors: z.array(z.object({ message: z.string() })).min(1) });

/** The registry answered, but with no. */
export class RegistryRefusal extends Error {
  override readonly name = "RegistryRefusal";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The registry's management API, DESIGN §4. All calls throw RegistryRefusal (4xx) or another Error (unreachable, 5xx). */
export interface ManagementClient {
  /** Starts or joins a warm-up and pins the image for `owner`, for 7 days. */
  warmUp(reference: string, wish: WarmUpWish, signal: AbortSignal): Promise<void>;
  image(reference: string, signal: AbortSignal): Promise<RegistryImage | undefined>;
  /** Drops the owner's reference and pin. */
  release(reference: string, owner: string, signal: AbortSignal): Promise<void>;
  /** All references that the owner holds, page by page. */
  references(owner: string, signal: AbortSignal): AsyncIterable<string>;
  /** Why the registry is not ready, in its own words; undefined: it is. */
  readiness(signal: AbortSignal): Promise<string | undefined>;
  /** Changes whenever the registry was restarted. */
  startedAt(signal: AbortSignal): Promise<string>;
  /** Whether nobody else can read what is sent: HTTPS, or this machine. */
  readonly confidential: boolean;
  close(): void;
}

export type WarmUpWish = {
  readonly owner: string;
  readonly platforms?: readonly string[] | undefined;
  /** Of a private image. Undefined: those sent before stay; empty: they are taken back. */
  readonly credentials?: readonly { readonly username: string; readonly password: string }[] | undefined;
};

export type ManagementClientOptions = {
  readonly url: string;
  /** Undefined: the API is open (loopback). Asked for each call, so that a rotated token is used. */
  readonly token: () => Promise<string | undefined>;
  /** After a 401: the token is read anew. */
  readonly onUnauthorized?: () => void;
  /** Asked for each call, so that they may change. Undefined: those of the system. */
  readonly authorities?: RegistryAuthorities | undefined;
  /** Addresses of all replicas: each is told credentials, since none of them passes those on. Undefined: there is one. */
  readonly replicas?: (() => Promise<readonly string[]>) | undefined;
  readonly timing?: Partial<CallTiming>;
};

/** Milliseconds. */
export type CallTiming = {
  /** For a connection: behind a ClusterIP, packets to a pod that is gone are often not even refused. */
  readonly connect: number;
  /** For the whole answer. */
  readonly answer: number;
  /** For the answer to whether the registry is there at all. */
  readonly startedAt: number;
};

const DEFAULT_TIMING: CallTiming = { connect: 3_000, answer: 10_000, startedAt: 5_000 };
const PAGE_SIZE = 500;
const MAX_REASON = 200;
const MAX_BODY = 16 * 1024 * 1024;

type Answer = { readonly status: number; readonly body: unknown; readonly link: string | undefined };
type Call = {
  method: string;
  path: string;
  body?: unknown;
  signal: AbortSignal;
  limit?: number;
  /** Of one replica; its certificate has to be that of the URL all the same. */
  address?: string;
};

/** On node:https rather than fetch, which takes no certificate authorities of its own. */
export function createManagementClient(options: ManagementClientOptions): ManagementClient {
  const secure = options.url.startsWith("https:");
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  // No limit of sockets: the callers are few, and none may wait behind others that hang.
  const create = (ca?: string): http.Agent =>
    secure ? new https.Agent({ keepAlive: true, ca }) : new http.Agent({ keepAlive: true });
  let agent = create();
  let trusted: string | undefined;

  /** New connections know the present authorities; what is under way on old ones goes on. */
  async function currentAgent(): Promise<http.Agent> {
    if (!secure || options.authorities === undefined) return agent;
    const ca = await options.authorities();
    if (ca !== trusted) {
      dropIdleConnections();
      trusted = ca;
      agent = create(ca);
    }
    return agent;
  }

  /** Kept-alive connections to a registry that died without a word: each would cost another time-out. */
  function dropIdleConnections(): void {
    for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  async function send({ method, path, body, signal, limit = timing.answer, address }: Call): Promise<Answer> {
    const token = await options.token();
    const agent = await currentAgent();
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string | number> = { accept: "application/json" };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (text !== undefined) {
      headers["content-type"] = "application/json";
      headers["content-length"] = Buffer.byteLength(text);
    }
    const deadline = createDeadline(limit, signal);
    try {
      const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
      const open = secure ? https.request : http.request;
      const url = new URL(`${options.url}${path}`);
      const replica = address === undefined ? {} : { hostname: address, servername: url.hostname };
      if (address !== undefined) headers.host = url.host;
      const request = open(url, { method, agent, headers, signal: deadline.signal, ...replica }, resolve);
      request.on("error", (error) => reject(deadline.signal.aborted ? deadline.signal.reason : error));
      request.on("socket", (socket) => limitConnecting(request, socket, timing.connect));
      request.end(text);
      const response = await promise;
      const status = response.statusCode ?? 0;
      return { status, body: await readBody(response), link: String(response.headers.link ?? "") };
    } catch (error) {
      if (!signal.aborted) dropIdleConnections();
      throw error;
    } finally {
      deadline.end();
    }
  }

  async function ask(call: Call): Promise<Answer> {
    const answer = await send(call);
    if (answer.status === 401) options.onUnauthorized?.();
    if (answer.status >= 200 && answer.status < 300) return answer;
    const parsed = ErrorBody.safeParse(answer.body);
    const message = parsed.data?.errors[0]?.message ?? `status ${answer.status}`;
    if (answer.status >= 400 && answer.status < 500) throw new RegistryRefusal(answer.status, message);
    throw new Error(`the registry's management API failed: ${message}`);
  }

  const confidential = secure || isLoopback(new URL(options.url).hostname);

  /** @throws when one of them cannot be told: its pulls would be refused */
  async function askEveryReplica(call: Call): Promise<void> {
    const addresses = (await options.replicas?.()) ?? [undefined];
    if (!confidential || !(secure || addresses.every((address) => address === undefined || isLoopback(address)))) {
      throw new Error("credentials are sent over HTTPS only");
    }
    await Promise.all(addresses.map((address) => ask(address === undefined ? call : { ...call, address })));
  }

  return {
    confidential,
    close: () => agent.destroy(),
    async warmUp(reference, { owner, platforms, credentials }, signal) {
      const body = { pin: true, owner, platforms, credentials };
      const call = { method: "PUT", path: imagePath(reference), body, signal };
      await (credentials?.length ? askEveryReplica(call) : ask(call));
    },
    async image(reference, signal) {
      try {
        const { body } = await ask({ method: "GET", path: imagePath(reference), signal });
        return RegistryImage.parse(body);
      } catch (error) {
        if (error instanceof RegistryRefusal && error.status === 404) return undefined;
        throw error;
      }
    },
    async release(reference, owner, signal) {
      const path = `${imagePath(reference)}?owner=${encodeURIComponent(owner)}`;
      try {
        await ask({ method: "DELETE", path, signal });
      } catch (error) {
        if (!(error instanceof RegistryRefusal) || error.status !== 404) throw error;
      }
    },
    async *references(owner, signal) {
      let last: string | undefined;
      for (;;) {
        const query = new URLSearchParams({ owner, n: String(PAGE_SIZE), ...(last === undefined ? {} : { last }) });
        const { body, link } = await ask({ method: "GET", path: `/api/v1/images?${query.toString()}`, signal });
        const { images } = ImagePage.parse(body);
        for (const { reference } of images) yield reference;
        last = images.at(-1)?.reference;
        if (last === undefined || !/rel="?next"?/.test(link ?? "")) return;
      }
    },
    async readiness(signal) {
      const { status, body } = await send({ method: "GET", path: "/readyz", signal, limit: timing.startedAt });
      if (status === 200) return undefined;
      const [line] = typeof body === "string" ? body.split("\n") : [];
      return line?.replace(/^\[-\] /, "").slice(0, MAX_REASON) || `status ${status}`;
    },
    async startedAt(signal) {
      const { body } = await ask({ method: "GET", path: "/api/v1/stats", signal, limit: timing.startedAt });
      return String(Stats.parse(body).startedAt);
    },
  };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function imagePath(reference: string): string {
  return `/api/v1/images/${encodeURIComponent(reference)}`;
}

/** A socket that is connected already is left alone. */
function limitConnecting(request: http.ClientRequest, socket: Socket, milliseconds: number): void {
  if (!socket.connecting) return;
  const timer = setTimeout(() => request.destroy(new Error(`no connection within ${milliseconds} ms`)), milliseconds);
  const clear = (): void => clearTimeout(timer);
  socket.once("connect", clear).once("close", clear);
}

/** The body; as text when it is no JSON. */
async function readBody(response: http.IncomingMessage): Promise<unknown> {
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) {
    text += String(chunk);
    if (text.length > MAX_BODY) throw new Error("the registry's management API answered with too much");
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
