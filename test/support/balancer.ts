import { connect, createServer, type Socket } from "node:net";

export type Balancer = {
  readonly url: string;
  close(): Promise<void>;
};

/** A TCP address in front of several: each connection goes to the next one that takes it, as with a Service. */
export async function startBalancer(targets: readonly string[]): Promise<Balancer> {
  const addresses = targets.map((target) => new URL(target));
  const sockets = new Set<Socket>();
  let turn = 0;

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    return socket.on("close", () => sockets.delete(socket));
  }

  function forward(client: Socket, attempts: number): void {
    const address = addresses[turn++ % addresses.length];
    if (!address || attempts === 0) {
      client.destroy();
      return;
    }
    const onward = keep(connect(Number(address.port), address.hostname));
    const next = (): void => forward(client, attempts - 1);
    onward.once("error", next);
    onward.once("connect", () => {
      onward.off("error", next).on("error", () => client.destroy());
      onward.on("close", () => client.destroy());
      client.on("close", () => onward.destroy());
      client.pipe(onward).pipe(client);
    });
  }

  const server = createServer((client) => {
    keep(client).on("error", () => client.destroy());
    forward(client, addresses.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
