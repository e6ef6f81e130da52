import { connect } from "node:net";

export type RawAnswer = {
  readonly status: number;
  /** Lower-case names; the last of several wins. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The connection ended without an answer. */
  readonly cut: boolean;
};

/**
 * What is sent is exactly this: clients would tidy up paths and headers first. `endAfter`: the server is told
 * after so many milliseconds that nothing more will come (Node.js then gives up what it has not answered).
 */
export function rawRequest(
  base: string,
  request: string | Uint8Array,
  { timeout = 30_000, endAfter }: { timeout?: number; endAfter?: number } = {},
): Promise<RawAnswer> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const chunks: Buffer[] = [];
    const head = Buffer.from(request).subarray(0, 5).toString("latin1") === "HEAD ";
    const settle = (): void => {
      clearTimeout(late);
      clearTimeout(end);
      socket.destroy();
      resolve(parse(Buffer.concat(chunks)));
    };
    const late = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no whole answer within ${timeout} ms; so far: ${Buffer.concat(chunks).toString("latin1")}`));
    }, timeout);
    socket.on("connect", () => socket.write(request));
    const end = endAfter === undefined ? undefined : setTimeout(() => socket.end(), endAfter);
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (isWhole(Buffer.concat(chunks), head)) settle();
    });
    socket.on("error", () => undefined);
    socket.on("close", settle);
  });
}

/** A GET with this very target. */
export function rawGet(base: string, target: string, headers = ""): Promise<RawAnswer> {
  return rawRequest(base, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n`);
}

function isWhole(bytes: Buffer, head: boolean): boolean {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const { headers, status } = parse(bytes);
  if (head || status === 204 || status === 304) return true;
  const length = headers["content-length"];
  return length !== undefined && bytes.length >= end + 4 + Number(length);
}

function parse(bytes: Buffer): RawAnswer {
  const end = bytes.indexOf("\r\n\r\n");
  const [first = "", ...lines] = bytes.subarray(0, Math.max(end, 0)).toString("latin1").split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const status = Number(first.split(" ")[1] ?? 0);
  // Bytes after the first request may have been answered too.
  const length = Number(headers["content-length"] ?? bytes.length);
  const body = end < 0 ? "" : bytes.subarray(end + 4, end + 4 + length).toString("utf8");
  return { status, headers, body, cut: end < 0 };
}
