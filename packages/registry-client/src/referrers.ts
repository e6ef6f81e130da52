import { DigestText } from "@cache-registry/core/descriptor";
import { algorithmOf, type Digest, hexOf } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { baseMediaType, isIndexType } from "@cache-registry/core/media-type";
import { z } from "zod";
import { discard, headerOf, isEncoded, readCapped } from "./body.ts";
import type { TransportResponse } from "./transport.ts";
import { UpstreamError } from "./upstream-error.ts";

const Annotations = z.record(z.string(), z.string());

/** What the referrers API tells of one manifest; other fields of descriptors are left out. */
const Referrer = z.object({
  mediaType: z.string().min(1),
  digest: DigestText,
  size: z.number().int().nonnegative(),
  artifactType: z.string().min(1).optional().catch(undefined),
  annotations: Annotations.optional().catch(undefined),
});
export type UpstreamReferrer = Readonly<z.infer<typeof Referrer>>;

/** More in one document are refused before they are looked at: none is shorter than a digest. */
const MAX_REFERRERS = 10_000;
const Index = z.object({ manifests: z.array(z.unknown()).max(MAX_REFERRERS) });

/** Distribution spec, "Referrers Tag Schema": where clients keep the list at a registry without the API. */
export function referrersTag(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`;
}

/** The descriptors of an index; those that are none are left out. Undefined when it is no index. */
export function parseReferrers(bytes: Uint8Array): UpstreamReferrer[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
  const index = Index.safeParse(json);
  if (!index.success) return undefined;
  return index.data.manifests.flatMap((entry) => {
    const referrer = Referrer.safeParse(entry);
    return referrer.success ? [withoutMissing(referrer.data)] : [];
  });
}

function withoutMissing({ artifactType, annotations, ...referrer }: UpstreamReferrer): UpstreamReferrer {
  return { ...referrer, ...(artifactType === undefined ? {} : { artifactType }), ...(annotations && { annotations }) };
}

export type ReferrersPage = {
  readonly referrers: readonly UpstreamReferrer[];
  /** Query of the next page, as the Link header names it. */
  readonly next: string | undefined;
};

/** One page of the API, within `timeout` milliseconds. @throws UpstreamError invalid when it is no index; whatever the socket throws */
export async function readReferrersPage(
  response: TransportResponse,
  registry: string,
  timeout: number,
): Promise<ReferrersPage> {
  const { headers, statusCode } = response;
  if (statusCode !== 200 || isEncoded(headers) || !isIndexType(baseMediaType(headerOf(headers, "content-type")))) {
    await discard(response);
    throw new UpstreamError("answers a question for referrers with something else", { kind: "invalid", registry });
  }
  const referrers = parseReferrers(
    await readCapped(response.body, { bytes: MAX_MANIFEST_BYTES, milliseconds: timeout }),
  );
  if (!referrers) throw new UpstreamError("sends a list of referrers that is none", { kind: "invalid", registry });
  return { referrers, next: nextQuery(headerOf(headers, "link")) };
}

/** RFC 8288. Only the query is taken: the next page is at the same place as this one, wherever the link says. */
function nextQuery(link: string | undefined): string | undefined {
  const target = /<([^<>]*)>\s*;[^,]*\brel="?next\b/.exec(link ?? "")?.[1];
  const mark = target?.indexOf("?") ?? -1;
  return target === undefined || mark < 0 ? undefined : target.slice(mark + 1);
}

/** By digest, each once. */
export function sortReferrers(referrers: Iterable<UpstreamReferrer>): UpstreamReferrer[] {
  const byDigest = new Map([...referrers].map((referrer) => [referrer.digest, referrer]));
  return [...byDigest.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
}
