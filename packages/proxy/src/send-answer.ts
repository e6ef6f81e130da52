import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { Answer } from "./answer.ts";
import { releaseChunk } from "./spent-chunk.ts";

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
      const more = response.write(chunk, () => releaseChunk(chunk));
      if (!more) await once(response, "drain", { signal });
    }
    response.end();
  } catch (error) {
    response.destroy();
    throw error;
  }
}
