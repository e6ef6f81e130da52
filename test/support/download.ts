import { createHash } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { Worker } from "node:worker_threads";

export type Download = {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Of the bytes that arrived. */
  readonly digest: string;
  readonly size: number;
  /** The connection broke before the announced end. */
  readonly cut: boolean;
  /** Milliseconds from the request to the first byte of the body, and to the last. */
  readonly firstByte: number;
  readonly lastByte: number;
};

export type DownloadOptions = {
  readonly headers?: Readonly<Record<string, string>>;
  /** Leaves after so many bytes. */
  readonly leaveAfter?: number;
  /** Bytes per second at which it reads; unlimited when missing. */
  readonly pace?: number;
};

/** One client with a connection of its own. Resolves also when the connection breaks. @throws when there is no answer */
export function download(url: string, options: DownloadOptions = {}): Promise<Download> {
  const { headers, leaveAfter = Number.POSITIVE_INFINITY, pace } = options;
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const asking = request(url, { agent: false, headers: { ...headers } });
    asking.once("error", reject);
    asking.once("response", (response) => {
      const hash = createHash("sha256");
      let size = 0;
      let firstByte = Number.NaN;
      response.on("data", (chunk: Buffer) => {
        if (size === 0) firstByte = performance.now() - started;
        size += chunk.length;
        hash.update(chunk);
        if (size >= leaveAfter) response.destroy();
        else if (pace !== undefined) {
          response.pause();
          setTimeout(() => response.resume(), (chunk.length / pace) * 1000);
        }
      });
      response.on("error", () => undefined);
      asking.removeAllListeners("error").on("error", () => undefined);
      response.once("close", () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          digest: `sha256:${hash.digest("hex")}`,
          size,
          cut: !response.complete,
          firstByte,
          lastByte: performance.now() - started,
        });
      });
    });
    asking.end();
  });
}

/** What one of many clients got. `asExpected`: every byte was the right one. */
export type Received = Pick<Download, "status" | "size" | "firstByte" | "lastByte"> & { readonly asExpected: boolean };

/** Many clients at once, on a thread of their own, so that the upstream in this one keeps its pace. */
export async function downloadTogether(url: string, clients: number, expected: Buffer): Promise<Received[]> {
  const shared = Buffer.from(new SharedArrayBuffer(expected.length));
  shared.set(expected);
  const worker = new Worker(new URL("./download-worker.ts", import.meta.url), {
    workerData: { url, clients, expected: shared },
  });
  const [received] = (await once(worker, "message")) as [Received[]];
  await worker.terminate();
  return received;
}
