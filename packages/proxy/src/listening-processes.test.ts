import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { countListeners, listeningSockets, processesListening } from "./listening-processes.ts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const row = (local: string, state: string) =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 0 0 0 1`;

async function* lines(...rows: string[]): AsyncGenerator<string> {
  yield* [HEAD, ...rows];
}

describe("listeningSockets", () => {
  it("reads those that listen, and not the many behind them", async () => {
    const first = row("0100007F:1D0F", "0A");
    const table = (async function* () {
      yield* lines(first, first, row("0100007F:1D0F", "01"));
      throw new Error("read on");
    })();
    expect(await listeningSockets(table)).toEqual(["0100007F:1D0F", "0100007F:1D0F"]);
    expect(await listeningSockets(lines())).toEqual([]);
  });
});

describe("countListeners", () => {
  it("counts what listens on one address, whatever else has the port", () => {
    const sockets = ["0100007F:1D0F", "0100007F:1D0F", "00000000000000000000000001000000:1D0F", "00000000:1F94"];
    expect(countListeners(sockets, 7439)).toBe(2);
    expect(countListeners(sockets, 8084)).toBe(1);
    expect(countListeners(sockets, 1)).toBe(0);
  });
});

describe("processesListening", () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  it("sees who shares a port of this machine", async () => {
    const open = async (port: number): Promise<number> => {
      const server = createServer();
      servers.push(server);
      await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port, reusePort: true }, resolve));
      const address = server.address();
      return typeof address === "object" && address !== null ? address.port : 0;
    };
    const port = await open(0);
    expect(await processesListening(port)).toEqual([1]);
    await open(port);
    expect(await processesListening(1, port)).toEqual([0, 2]);
  });
});
