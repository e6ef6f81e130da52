import { algorithmOf, type Digest, isDigest } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { baseMediaType } from "@cache-registry/core/media-type";
import { digestOfBytes } from "@cache-registry/core/verify";
import { discard, headerOf, isEncoded, readCapped } from "./body.ts";
import { parseContentLength } from "./content-range.ts";
import type { TransportResponse } from "./transport.ts";
import { UpstreamError } from "./upstream-error.ts";

/** Response headers, names in lower case; of repeated ones the first value. */
export type AnswerHeaders = Readonly<Record<string, string>>;

export type ManifestHead = {
  /** Undefined when the upstream does not say, or does not answer HEAD: GET it then. */
  readonly digest: Digest | undefined;
  readonly mediaType: string;
  /** Bytes, when told. */
  readonly size: number | undefined;
  readonly headers: AnswerHeaders;
};

export type UpstreamManifest = {
  readonly bytes: Buffer;
  /** Of the Content-Type header, without parameters. */
  readonly mediaType: string;
  /** Computed from the bytes; equal to the digest asked for and to `Docker-Content-Digest`. */
  readonly digest: Digest;
  readonly headers: AnswerHeaders;
};

export function headersOf(response: TransportResponse): AnswerHeaders {
  const entries = Object.keys(response.headers).map((name) => [name, headerOf(response.headers, name) ?? ""] as const);
  return Object.fromEntries(entries);
}

function digestHeader(response: TransportResponse): Digest | undefined {
  const value = headerOf(response.headers, "docker-content-digest")?.trim() ?? "";
  return isDigest(value) ? value : undefined;
}

function invalid(registry: string, message: string, cause?: unknown): UpstreamError {
  return new UpstreamError(message, { kind: "invalid", registry, cause });
}

/** Login pages of captive portals come with status 200. */
function assertManifestAnswer(response: TransportResponse, registry: string): void {
  if (response.statusCode !== 200) throw invalid(registry, `answered ${response.statusCode} for a manifest`);
  if (isEncoded(response.headers)) throw invalid(registry, "sends an encoded manifest although none was asked for");
  if (baseMediaType(headerOf(response.headers, "content-type")) === "text/html") {
    throw invalid(registry, "sends a web page instead of a manifest");
  }
}

/** @throws UpstreamError invalid */
export function readManifestHead(response: TransportResponse, registry: string): ManifestHead {
  assertManifestAnswer(response, registry);
  return {
    digest: digestHeader(response),
    mediaType: baseMediaType(headerOf(response.headers, "content-type")),
    size: parseContentLength(headerOf(response.headers, "content-length")),
    headers: headersOf(response),
  };
}

/** @throws UpstreamError invalid when too long, encoded, or not what a digest says; whatever the socket throws */
export async function readManifest(
  response: TransportResponse,
  registry: string,
  { reference, timeout }: { readonly reference: string /** Milliseconds. */; readonly timeout: number },
): Promise<UpstreamManifest> {
  try {
    assertManifestAnswer(response, registry);
  } catch (error) {
    await discard(response);
    throw error;
  }
  const bytes = await readCapped(response.body, { bytes: MAX_MANIFEST_BYTES, milliseconds: timeout });
  const announced = digestHeader(response);
  const expected = isDigest(reference) ? reference : announced;
  const digest = digestOfBytes(bytes, expected && algorithmOf(expected));
  if (expected !== undefined && digest !== expected) throw invalid(registry, "the manifest does not match its digest");
  if (announced !== undefined && algorithmOf(announced) === algorithmOf(digest) && announced !== digest) {
    throw invalid(registry, "the manifest does not match its Docker-Content-Digest");
  }
  return {
    bytes,
    mediaType: baseMediaType(headerOf(response.headers, "content-type")),
    digest,
    headers: headersOf(response),
  };
}
