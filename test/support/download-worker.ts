import { connect } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import type { Received } from "./download.ts";

const { url, clients, expected } = workerData as { url: string; clients: number; expected: Uint8Array };
const HEADERS_END = "\r\n\r\n";

/** As cheap as a client can be, since it shares two cores with what it measures: one buffer, no parser, no copies. */
function receive(): Promise<Received> {
  const { hostname, port, pathname, host } = new URL(url);
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const buffer = Buffer.allocUnsafe(256 * 1024);
    let head: string | undefined;
    let size = 0;
    let asExpected = true;
    let firstByte = Number.NaN;
    const socket = connect({
      host: hostname,
      port: Number(port),
      onread: {
        buffer,
        callback(count) {
          let start = 0;
          if (head === undefined) {
            const end = buffer.subarray(0, count).indexOf(HEADERS_END);
            head = buffer.toString("latin1", 0, end);
            start = end + HEADERS_END.length;
          }
          if (count === start) return true;
          if (size === 0) firstByte = performance.now() - started;
          const length = count - start;
          asExpected &&= buffer.compare(expected, size, size + length, start, count) === 0;
          size += length;
          if (size >= expected.length) socket.end();
          return true;
        },
      },
    });
    socket.once("error", reject);
    socket.once("connect", () => socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
    socket.once("close", () => {
      const status = Number(head?.split(" ")[1]);
      resolve({ status, size, asExpected, firstByte, lastByte: performance.now() - started });
    });
  });
}

parentPort?.postMessage(await Promise.all(Array.from({ length: clients }, receive)));
