import { request as ask, createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

/** For tests: an HTTP proxy on loopback, by RFC 9110: tunnels by CONNECT, and plain requests that name the whole URL. */
export type ConnectProxy = {
  readonly host: string;
  /** `CONNECT a.example:443`, `GET http://a.example/v2/` */
  readonly requests: string[];
  /** Names are looked up here and nowhere else: where each leads on loopback. */
  readonly names: Map<string, number>;
  /** Of the header Proxy-Authorization; undefined: everybody may pass. */
  credentials: string | undefined;
  close(): Promise<void>;
};

export async function createConnectProxy(): Promise<ConnectProxy> {
  const sockets = new Set<Socket>();
  const isRefused = (authorization: string | undefined): boolean =>
    proxy.credentials !== undefined && authorization !== `Basic ${Buffer.from(proxy.credentials).toString("base64")}`;

  const server = createServer((request, response) => {
    proxy.requests.push(`${request.method} ${request.url}`);
    const { "proxy-authorization": authorization, ...headers } = request.headers;
    if (isRefused(authorization)) return void response.writeHead(407).end();
    const url = new URL(request.url ?? "");
    const port = proxy.names.get(url.hostname);
    if (port === undefined) return void response.writeHead(502).end();
    const path = `${url.pathname}${url.search}`;
    const onward = ask({ host: "127.0.0.1", port, method: request.method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  server.on("connect", (request, client: Socket) => {
    proxy.requests.push(`CONNECT ${request.url}`);
    const port = proxy.names.get(request.url?.replace(/:\d+$/, "") ?? "");
    const refuse = (status: string): unknown => client.end(`HTTP/1.1 ${status}\r\n\r\n`);
    if (isRefused(request.headers["proxy-authorization"])) return refuse("407 Proxy Authentication Required");
    if (port === undefined) return refuse("502 Bad Gateway");
    const onward = connect(port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      client.pipe(onward).pipe(client);
    });
    sockets.add(onward);
    onward.on("error", () => client.destroy());
    client.on("error", () => onward.destroy());
  });
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: ConnectProxy = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    names: new Map(),
    credentials: undefined,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
