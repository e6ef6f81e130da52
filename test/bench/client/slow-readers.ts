import { once } from "node:events";
import { connect, type Socket } from "node:net";

type SlowReaders = { readonly url: string; readonly connections: number; readonly seconds: number };

/** How often each reader takes what has arrived, in milliseconds. */
const INTERVAL = 500;

/** Connections that ask for all and take a little of it at a time. → [body bytes taken, connections that were refused] */
export async function slowReaders({ url, connections, seconds }: SlowReaders): Promise<number[]> {
  const { hostname, port, pathname } = new URL(url);
  let taken = 0;
  let refused = 0;
  const open = async (): Promise<Socket> => {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.once("data", (head: Buffer) => {
      if (!head.toString("latin1", 0, 12).endsWith(" 200")) refused += 1;
    });
    socket.on("data", (chunk: Buffer) => {
      taken += chunk.length;
      socket.pause();
    });
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
    return socket;
  };
  const sockets = await Promise.all(Array.from({ length: connections }, open));
  const timer = setInterval(() => {
    for (const socket of sockets) socket.resume();
  }, INTERVAL);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  clearInterval(timer);
  for (const socket of sockets) socket.destroy();
  return [taken, refused];
}
