import { discard, headerOf, isEncoded } from "./body.ts";
import { parseContentLength, parseContentRange } from "./content-range.ts";
import { failureOfStatus } from "./failure.ts";
import type { TransportResponse } from "./transport.ts";

/** Where the body of a blob's answer starts, and how long the whole is. @throws UpstreamError invalid */
export async function readBlobRange(
  response: TransportResponse,
  wanted: number,
  registry: string,
): Promise<{ start: number; size: number | undefined }> {
  const { statusCode: status, headers } = response;
  const length = parseContentLength(headerOf(headers, "content-length"));
  const range = status === 206 ? parseContentRange(headerOf(headers, "content-range")) : undefined;
  if (!isEncoded(headers)) {
    if (status === 200) return { start: 0, size: length };
    if (range && range.start <= wanted) return { start: range.start, size: range.size };
  }
  await discard(response);
  throw failureOfStatus({ registry, status: status === 206 ? 416 : status });
}
