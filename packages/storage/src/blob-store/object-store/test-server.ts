import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

export type Seen = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  body: Buffer;
};
export type Reaction = (response: ServerResponse, seen: Seen) => unknown;

/** For tests: a server that answers as it is told, one reaction per request and the last for all that follow. */
export type ScriptedServer = {
  readonly seen: Seen[];
  readonly url: string;
  script(...reactions: Reaction[]): void;
  close(): Promise<void>;
};

export const TEST_SECRET = "do-not-show-this";

export async function startScriptedServer(): Promise<ScriptedServer> {
  const seen: Seen[] = [];
  let reactions: Reaction[] = [];
  async function react(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    const received: Seen = { method, path: url, headers, body: Buffer.alloc(0) };
    seen.push(received);
    const reaction = reactions.length > 1 ? reactions.shift() : reactions[0];
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    received.body = Buffer.concat(chunks);
    reaction?.(response, received);
  }
  // A client that gives up in the middle of its body is one of the cases.
  const server = createServer((request, response) => void react(request, response).catch(() => undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  return {
    seen,
    url: `http://127.0.0.1:${port}`,
    script(...next) {
      reactions = next;
      seen.length = 0;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export function answer(status: number, body: string | Buffer = "", headers: Record<string, string> = {}): Reaction {
  return (response) => response.writeHead(status, headers).end(body);
}

/** As S3 and Azure refuse. */
export function refusal(status: number, code: string): Reaction {
  return answer(status, `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>${TEST_SECRET}</Message></Error>`);
}

/** The connection breaks without an answer. */
export const cut: Reaction = (response) => response.destroy();

/** The head announces more than what is sent before the connection breaks. */
export function cutBody(status: number, body: Buffer, headers: Record<string, string>): Reaction {
  return (response) => response.writeHead(status, headers).write(body, () => response.destroy());
}
