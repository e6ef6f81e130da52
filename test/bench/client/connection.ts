import { once } from "node:events";
import { connect } from "node:net";

const HEADERS_END = "\r\n\r\n";
const BUFFER_BYTES = 64 * 1024;

export type Received = {
  readonly status: number;
  /** Body bytes. */
  readonly size: number;
  /** `performance.now()` when the first byte of the body came. */
  readonly firstByteAt: number;
  /** The body, when it was asked for. */
  readonly body: Buffer;
};

export type Connection = {
  /** One request at a time. Answers need a Content-Length. */
  get(path: string, options?: { readonly keep?: boolean }): Promise<Received>;
  close(): void;
};

/** As cheap as a client can be, since it shares the machine with what it measures: one buffer, no parser, no copies. */
export async function openConnection({ hostname, port }: URL): Promise<Connection> {
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  const exchange = createExchange();
  const socket = connect({
    host: hostname,
    port: Number(port),
    noDelay: true,
    onread: {
      buffer,
      callback(count) {
        exchange.take(buffer.subarray(0, count));
        return true;
      },
    },
  });
  socket.on("error", exchange.fail);
  socket.on("close", () => exchange.fail(new Error("the connection was closed early")));
  await Promise.race([once(socket, "connect"), exchange.failed]);
  const host = `${hostname}:${port}`;
  return {
    get(path, { keep = false } = {}) {
      const answer = exchange.begin(keep);
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAccept: ${ACCEPT}\r\n\r\n`);
      return answer;
    },
    close() {
      socket.destroy();
    },
  };
}

const ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

type Waiting = {
  readonly keep: boolean;
  readonly resolve: (received: Received) => void;
  readonly reject: (error: Error) => void;
};

function createExchange() {
  const failure = Promise.withResolvers<never>();
  failure.promise.catch(() => undefined);
  let failed: Error | undefined;
  let waiting: Waiting | undefined;
  let head = "";
  let status = 0;
  let left = -1;
  let size = 0;
  let firstByteAt = Number.NaN;
  let chunks: Buffer[] = [];

  function readHead(bytes: Buffer): Buffer {
    // Header blocks are small: what follows the first bytes is looked at once.
    head += bytes.toString("latin1", 0, Math.min(bytes.length, 8192));
    const end = head.indexOf(HEADERS_END);
    if (end < 0) return bytes.subarray(bytes.length);
    const consumed = end + HEADERS_END.length - (head.length - Math.min(bytes.length, 8192));
    const length = /^content-length: *(\d+)/im.exec(head)?.[1];
    if (length === undefined) fail(new Error(`an answer without Content-Length: ${head}`));
    status = Number(head.split(" ", 2)[1]);
    left = Number(length);
    return bytes.subarray(consumed);
  }

  function fail(error: Error): void {
    failed ??= error;
    failure.reject(error);
    waiting?.reject(error);
    waiting = undefined;
  }

  return {
    fail,
    failed: failure.promise,
    begin(keep: boolean): Promise<Received> {
      head = "";
      left = -1;
      size = 0;
      chunks = [];
      return new Promise((resolve, reject) => {
        if (failed) reject(failed);
        else waiting = { keep, resolve, reject };
      });
    },
    take(bytes: Buffer): void {
      const body = left < 0 ? readHead(bytes) : bytes;
      if (left < 0) return;
      if (size === 0 && body.length > 0) firstByteAt = performance.now();
      size += body.length;
      left -= body.length;
      if (waiting?.keep) chunks.push(Buffer.from(body));
      if (left > 0) return;
      const done = waiting;
      waiting = undefined;
      done?.resolve({ status, size, firstByteAt, body: Buffer.concat(chunks) });
    },
  };
}
