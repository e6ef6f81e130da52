import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { messageOf } from "@cache-registry/core/errors";
import { StoreConnectionError } from "./errors.ts";

export type HttpExchange = {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Exactly content-length bytes, read as the connection takes them. A chunk is done with when the next is asked for. */
  readonly body?: AsyncIterable<Uint8Array> | undefined;
  /** Milliseconds of silence after which the connection is given up, from connecting to the end of the answer. */
  readonly idle: number;
};

/** HTTP/1.1 with kept connections. An answer is not read further than its reader asks for. */
export type Transport = {
  /** Resolves with the answer's head. @throws StoreConnectionError, or what `body` throws */
  send(exchange: HttpExchange): Promise<IncomingMessage>;
  /** Ends every connection. */
  close(): void;
};

/**
 * Idle connections are closed sooner than servers do, so that hardly a request is lost to one that is closing. Bytes come in
 * pieces of up to 64 KiB: with this mark, one of them waits for its reader, and no more.
 */
const AGENT = { keepAlive: true, maxFreeSockets: 64, timeout: 4_000, highWaterMark: 16 * 1024 };

export function createTransport(protocol: string): Transport {
  const secure = protocol === "https:";
  const agent = secure ? new HttpsAgent(AGENT) : new HttpAgent(AGENT);
  return {
    send: ({ method, url, headers, body, idle }) =>
      new Promise((resolve, reject) => {
        const options = { method, headers, agent, timeout: idle };
        const request = secure ? httpsRequest(url, options) : httpRequest(url, options);
        request.once("response", resolve);
        // Stays for later errors too: after the head they belong to the answer.
        request.on("error", (error) => reject(connectionError(error)));
        request.on("timeout", () => request.destroy(new Error(`nothing heard for ${idle} ms`)));
        if (!body) return void request.end();
        sendBody(request, body).catch((error: unknown) => {
          request.destroy();
          reject(error);
        });
      }),
    close: () => agent.destroy(),
  };
}

async function sendBody(request: ClientRequest, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (request.destroyed) return;
    await written(request, chunk);
  }
  request.end();
}

/** Resolves when the chunk may be overwritten: the system has it, or the request is over. */
function written(request: ClientRequest, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      request.off("close", done);
      resolve();
    };
    request.on("close", done);
    request.write(chunk, done);
  });
}

export function connectionError(error: unknown): StoreConnectionError {
  // Of several addresses tried, the one error says nothing itself.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return new StoreConnectionError(`the object store cannot be reached: ${messageOf(first)}`, { cause: error });
}
