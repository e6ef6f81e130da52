import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

type State = "pending" | "pulling" | "ready" | "stale" | "failed";
type FakeImage = {
  state: State;
  progress: number;
  size: number;
  digest?: string;
  error?: string;
  reason?: string;
  owners: Set<string>;
  platforms: readonly string[] | undefined;
};

/** A scripted stand-in for the registry's management API, for tests of the controllers alone. */
export interface FakeManagementApi {
  readonly url: string;
  readonly images: Map<string, FakeImage>;
  /** How an image is after it was asked for. Default: ready at once. */
  outcome: (reference: string) => Partial<FakeImage>;
  /** `PUT docker.io/…`, in order; and which calls came with a wrong token. */
  readonly calls: string[];
  unauthorized: number;
  /** A new start time, with the store kept or lost. */
  restart(options: { keep: boolean }): void;
  /** While set, every call is answered with this status. */
  failWith: number | undefined;
  close(): Promise<void>;
}

export async function startFakeManagementApi(token?: string): Promise<FakeManagementApi> {
  const images = new Map<string, FakeImage>();
  const calls: string[] = [];
  let startedAt = 1;
  const server = createServer((request, response) => void answer(request, response));

  const api: FakeManagementApi = {
    url: "",
    images,
    calls,
    outcome: () => ({}),
    unauthorized: 0,
    failWith: undefined,
    restart({ keep }) {
      startedAt += 1;
      if (!keep) images.clear();
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://localhost");
    const reference = decodeURIComponent(url.pathname.slice("/api/v1/images/".length));
    calls.push(`${request.method} ${url.pathname.startsWith("/api/v1/images/") ? reference : url.pathname}`);
    if (api.failWith !== undefined) return send(response, api.failWith, { errors: [{ message: "told to fail" }] });
    if (url.pathname === "/readyz") return send(response, 200, "ok");
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) {
      api.unauthorized += 1;
      return send(response, 401, { errors: [{ message: "authentication required" }] });
    }
    if (url.pathname === "/api/v1/stats") return send(response, 200, { startedAt });
    if (url.pathname === "/api/v1/images") return list(url, response);
    if (request.method === "PUT") return put(reference, await bodyOf(request), response);
    if (request.method === "DELETE") return drop(reference, url.searchParams.get("owner") ?? "", response);
    const image = images.get(reference);
    if (!image) return send(response, 404, { errors: [{ message: "image not known" }] });
    send(response, 200, {
      reference,
      mediaType: "application/vnd.oci.image.index.v1+json",
      ...image,
      owners: undefined,
    });
  }

  function put(reference: string, body: { owner?: string; platforms?: string[] }, response: ServerResponse): void {
    const owners = images.get(reference)?.owners ?? new Set();
    if (body.owner !== undefined) owners.add(body.owner);
    const ready = { state: "ready" as State, progress: 100, size: 1_000, digest: `sha256:${"a".repeat(64)}` };
    images.set(reference, { ...ready, ...api.outcome(reference), owners, platforms: body.platforms });
    send(response, 202, {});
  }

  function drop(reference: string, owner: string, response: ServerResponse): void {
    const image = images.get(reference);
    image?.owners.delete(owner);
    if (image?.owners.size === 0) images.delete(reference);
    send(response, 204, undefined);
  }

  function list(url: URL, response: ServerResponse): void {
    const owner = url.searchParams.get("owner") ?? "";
    const after = url.searchParams.get("last") ?? "";
    // Two per page, so that paging is always tried.
    const held = [...images].filter(([name, image]) => image.owners.has(owner) && name > after).map(([name]) => name);
    const page = held.sort().slice(0, 2);
    if (held.length > page.length) response.setHeader("link", `</api/v1/images?last=x>; rel="next"`);
    send(response, 200, { images: page.map((reference) => ({ reference, owners: [owner] })) });
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return Object.assign(api, { url: `http://127.0.0.1:${port}` });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<{ owner?: string; platforms?: string[] }> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return JSON.parse(text);
}
