import type { ServerResponse } from "node:http";
import type { Answer } from "./answer.ts";
import { releaseChunk } from "./spent-chunk.ts";

type Writer = (chunk: Uint8Array) => Promise<void>;

/**
 * Writes a chunk and waits until the system has taken it: at most one waits for a slow reader. A write fails with the
 * signal's reason. One listener for all of them: hundreds of streams send thousands of chunks each.
 */
function createWriter(response: ServerResponse, signal: AbortSignal): Writer {
  let fail: ((reason: unknown) => void) | undefined;
  signal.addEventListener("abort", () => fail?.(signal.reason), { once: true });
  return (chunk) =>
    new Promise((resolve, reject) => {
      fail = reject;
      response.write(chunk, (error) => {
        releaseChunk(chunk);
        if (error) reject(error);
        else resolve();
      });
    });
}

/**
 * Writes an answer, at the pace at which the client reads. Where the body fails the connection is cut, short of its
 * Content-Length, so that the client knows and resumes.
 * @throws the body's failure, after the cut
 */
export async function sendAnswer(
  { status, headers, body }: Answer,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(status, { ...headers } as Record<string, string | string[]>);
  if (!body) {
    response.end();
    return;
  }
  const write = createWriter(response, signal);
  try {
    for await (const chunk of body) {
      signal.throwIfAborted();
      await write(chunk);
    }
    response.end();
  } catch (error) {
    response.destroy();
    throw error;
  }
}
