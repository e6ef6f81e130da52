import { type Digest, parseDigest } from "@cache-registry/core/digest";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { MEDIA_TYPES } from "@cache-registry/core/media-type";
import type { ReadReferrers, Referrer } from "../content/read-referrers.ts";
import { answeredBy, type Methods } from "./exchange.ts";
import { nextLink, pageOf } from "./page.ts";

export type ReferrersEndpoint = { readonly digest: string };

/** Distribution spec: listing referrers (end-12a, end-12b). An unknown subject has none; it is never 404. */
export function referrersRoutes({ readReferrers }: { readReferrers: ReadReferrers }): Methods<ReferrersEndpoint> {
  return {
    async GET({ repository, reply, name, query }, endpoint) {
      const subject = parseDigest(endpoint.digest);
      // Empty is no type, so nothing to filter by.
      const artifactType = query.get("artifactType") || null;
      const { limit, last } = pageOf(query);
      const { next, outcome, warning } = await readReferrers(repository, subject, artifactType);
      const { referrers, more } = await collect(next, { limit, last: last ?? "" });
      const end = referrers.at(-1)?.digest;
      if (more && end !== undefined) {
        const others = { artifactType, ns: query.get("ns") };
        reply.header("link", nextLink(`/v2/${name}/referrers/${subject}`, { limit, last: end }, others));
      }
      if (artifactType !== null) reply.header("oci-filters-applied", "artifactType");
      if (warning !== undefined) reply.header("warning", warning);
      return (
        reply
          .headers({ ...answeredBy({ repository, reply }, outcome), "content-type": MEDIA_TYPES.ociIndex })
          // Bytes: to a text a charset would be added, which no media type of the spec has.
          .send(
            Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: referrers })),
          )
      );
    },
  };
}

/** Read at once: annotations can fill a whole manifest, and a page of those would not fit into the memory. */
const BATCH = 8;

/** A page ends at `limit`, or where it would be more than a manifest may be: clients read it as one. */
async function collect(
  next: (last: string, limit: number) => Promise<readonly Referrer[]>,
  page: { readonly limit: number; readonly last: string },
): Promise<{ referrers: Referrer[]; more: boolean }> {
  const referrers: Referrer[] = [];
  let bytes = 0;
  let last: Digest | string = page.last;
  while (referrers.length < page.limit) {
    const wanted = Math.min(BATCH, page.limit - referrers.length);
    // One more than wanted tells whether there is a page after this one.
    const batch = await next(last, wanted + 1);
    for (const referrer of batch.slice(0, wanted)) {
      bytes += Buffer.byteLength(JSON.stringify(referrer)) + 1;
      if (referrers.length > 0 && bytes > MAX_MANIFEST_BYTES - FRAME_BYTES) return { referrers, more: true };
      referrers.push(referrer);
      last = referrer.digest;
    }
    if (batch.length <= wanted) return { referrers, more: false };
  }
  return { referrers, more: true };
}

/** The index around the descriptors. */
const FRAME_BYTES = 256;
