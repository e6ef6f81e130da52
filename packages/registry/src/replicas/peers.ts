import http from "node:http";
import https from "node:https";
import type { Digest } from "@cache-registry/core/digest";
import { messageOf } from "@cache-registry/core/errors";
import type { SecretFile } from "@cache-registry/runtime/secret";
import type { UpstreamRepository } from "../content/repository.ts";
import type { UpstreamBody } from "../pull-through/receive-blob.ts";
import { STORE_PATIENCE_MS } from "../routes/body.ts";

/** Milliseconds. Connections are inside the cluster; the first byte may have to come from an upstream. */
const CONNECT_MS = 1_000;
const SILENCE_MS = 25_000;
/** A client may be slow: as long as our own server waits. */
const UPLOAD_SILENCE_MS = 120_000;

/** Which replica is meant: an address may belong to another one by now. */
export const REPLICA_HEADER = "x-cache-registry-replica";
export const BLOB_SIZE_HEADER = "x-cache-registry-blob-size";

/** Another replica could not be reached, or broke off. */
export class PeerError extends Error {
  override readonly name = "PeerError";
}

export type Peer = { readonly id: string; readonly address: string };

export type PeerBlobRequest = {
  readonly digest: Digest;
  readonly repository: UpstreamRepository;
  readonly offset: number;
  /** The upstream was asked whether this repository has the blob. */
  readonly vouched: boolean;
};

export type PeerRequest = {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: http.IncomingMessage;
};

/** The client side of what replicas tell each other. */
export type Peers = {
  /** What the other fetches: `absent` when it does not, `unvouched` when this repository has to be asked for first. @throws PeerError */
  blob(peer: Peer, request: PeerBlobRequest): Promise<UpstreamBody | "absent" | "unvouched">;
  /** Any request, its body as it comes. The answer has to be read or destroyed. @throws PeerError */
  send(peer: Peer, request: PeerRequest): Promise<http.IncomingMessage>;
  close(): void;
};

export type PeersDeps = {
  /** What the replicas know each other by. */
  readonly token: SecretFile;
  /** Certificates that those of the others must lead to, PEM. */
  readonly ca?: string | undefined;
};

export function createPeers({ token, ca }: PeersDeps): Peers {
  const agents = {
    "http:": new http.Agent({ keepAlive: true }),
    "https:": new https.Agent({ keepAlive: true, ...(ca === undefined ? {} : { ca }) }),
  };

  async function send(peer: Peer, { method, path, headers, body }: PeerRequest): Promise<http.IncomingMessage> {
    const url = new URL(path, peer.address);
    const secure = url.protocol === "https:";
    const options: http.RequestOptions = {
      method,
      headers: { ...headers, authorization: `Bearer ${await token.read()}`, [REPLICA_HEADER]: peer.id },
      agent: secure ? agents["https:"] : agents["http:"],
    };
    return exchange(
      (secure ? https : http).request(url, options),
      body,
      method === "GET" ? SILENCE_MS : UPLOAD_SILENCE_MS,
    );
  }

  return {
    send,
    async blob(peer, { digest, repository, offset, vouched }) {
      const query = new URLSearchParams({ registry: repository.upstream, repository: repository.path });
      query.set("offset", String(offset));
      if (vouched) query.set("vouched", "true");
      const answer = await send(peer, { method: "GET", path: `/peer/blobs/${digest}?${query.toString()}` });
      if (answer.statusCode === 200) {
        const size = answer.headers[BLOB_SIZE_HEADER];
        return { offset, size: size === undefined ? undefined : Number(size), stream: chunksOf(answer) };
      }
      answer.resume();
      if (answer.statusCode === 404) return "absent";
      if (answer.statusCode === 409) return "unvouched";
      throw new PeerError(`another replica answered ${answer.statusCode}`);
    },
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

function exchange(
  request: http.ClientRequest,
  body: http.IncomingMessage | undefined,
  silence: number,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(new PeerError(`another replica: ${error.message}`, { cause: error }));
    request.on("error", fail);
    request.on("socket", (socket) => {
      if (!socket.connecting) return;
      const timer = setTimeout(() => request.destroy(new Error("no connection")), CONNECT_MS);
      socket.once("connect", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
    });
    request.setTimeout(silence, () => request.destroy(new Error("it says nothing")));
    request.once("response", (answer) => {
      // What comes late is told to whoever reads the answer.
      answer.on("error", () => undefined);
      resolve(answer);
    });
    if (!body) {
      request.end();
      return;
    }
    // A client that leaves in the middle is to be seen as such over there.
    body.once("close", () => {
      if (!body.complete) request.destroy(new Error("the client left"));
    });
    // Its store may be slow as well, at the end of a large blob.
    request.once("finish", () => request.setTimeout(STORE_PATIENCE_MS));
    body.pipe(request);
  });
}

async function* chunksOf(answer: http.IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    throw new PeerError(`another replica broke off: ${messageOf(error)}`, { cause: error });
  }
}
