import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { text } from "node:stream/consumers";

/* For tests: a service of a cloud on loopback, which does what the test says. */

export type ServiceRequest = {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The body as a form. */
  readonly form: Readonly<Record<string, string>>;
};

/** An object is sent as JSON. Undefined: 404. */
export type ServiceAnswer =
  | { readonly status?: number; readonly body?: object | string; readonly headers?: Record<string, string> }
  | undefined;

export type ScriptedService = {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly host: string;
  readonly requests: ServiceRequest[];
  answer: (request: ServiceRequest) => ServiceAnswer;
  close(): Promise<void>;
};

export async function startScriptedService(): Promise<ScriptedService> {
  const server = createServer((incoming, response) => {
    void text(incoming).then((body) => {
      const { method = "", headers } = incoming;
      const url = new URL(incoming.url ?? "/", `http://${headers.host}`);
      const request = { method, url, headers, body, form: Object.fromEntries(new URLSearchParams(body)) };
      service.requests.push(request);
      const answer = service.answer(request);
      const content = answer?.body ?? "";
      response.writeHead(answer ? (answer.status ?? 200) : 404, answer?.headers);
      response.end(typeof content === "string" ? content : JSON.stringify(content));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const host = `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  const service: ScriptedService = {
    url: `http://${host}`,
    host,
    requests: [],
    answer: () => undefined,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return service;
}
