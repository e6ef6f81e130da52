import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Answers one request. Leaving it unanswered lets the client hang. */
export type Script = (request: IncomingMessage, response: ServerResponse) => void;

export type FakeRegistry = {
  readonly url: string;
  /** `"HEAD /v2/a/manifests/x"` of every request, oldest first. */
  readonly requests: string[];
  /** What happens to requests from now on. */
  answer(script: Script): void;
  close(): Promise<void>;
};

/** An upstream that does what the test says, however wrong. */
export async function startFakeRegistry(): Promise<FakeRegistry> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let script: Script = (_request, response) => void response.writeHead(404).end();
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    script(request, response);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    answer(next) {
      script = next;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
