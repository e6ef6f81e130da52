import { connect, createServer, type Socket } from "node:net";

/** A TCP address that can go silent, as a ClusterIP does whose pod died: nothing is answered, refused or closed. */
export interface VanishingRelay {
  readonly url: string;
  /** All connections of now, and those to come, are swallowed. */
  vanish(): void;
  /** New connections get through again; those of before stay silent. */
  comeBack(): void;
  close(): Promise<void>;
}

export async function startVanishingRelay(target: string): Promise<VanishingRelay> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let away = false;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => socket.destroy());
    if (away) return;
    const forward = connect(Number(port), hostname);
    sockets.add(forward);
    forward.on("close", () => sockets.delete(forward)).on("error", () => socket.destroy());
    socket.pipe(forward).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    vanish() {
      away = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    comeBack() {
      away = false;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}
