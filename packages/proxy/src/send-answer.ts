import type { ServerResponse } from "node:http";
import type { Answer } from "./answer.ts";
import { releaseChunk } from "./spent-chunk.ts";

/** Until the system has taken the chunk: at most one of them waits for a slow reader. @throws the signal's reason */
function write(response: ServerResponse, chunk: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    response.write(chunk, (error) => {
      signal.removeEventListener("abort", leave);
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
  try {
    for await (const chunk of body) {
      signal.throwIfAborted();
      await write(response, chunk, signal);
    }
    response.end();
  } catch (error) {
    response.destroy();
    throw error;
  }
}
