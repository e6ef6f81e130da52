import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { MEDIA_TYPES } from "@cache-registry/core/media-type";
import type { UpstreamManifest } from "./manifest-answer.ts";
import type { ManifestRequest, Question, ReferrersRequest } from "./question.ts";
import type { UpstreamReferrer } from "./referrers.ts";
import { parseReferrers, type ReferrersPage, readReferrersPage, referrersTag, sortReferrers } from "./referrers.ts";
import { isUpstreamError, UpstreamError } from "./upstream-error.ts";

/** An upstream whose pages do not end is not asked for ever. */
const MAX_PAGES = 100;

export type ListReferrersDeps = {
  readonly ask: <Value>(question: Question<Value>) => Promise<Value>;
  readonly getManifest: (request: ManifestRequest) => Promise<UpstreamManifest>;
};

/** Distribution spec, "Listing Referrers" as a client: page by page, and "Unavailable Referrers API" after a 404. */
export function createListReferrers({ ask, getManifest }: ListReferrersDeps) {
  const page = (request: ReferrersRequest, query: string | undefined): Promise<ReferrersPage> =>
    ask({
      ...request,
      kind: "manifest",
      resource: `referrers/${request.subject}${query === undefined ? "" : `?${query}`}`,
      method: "GET",
      headers: { accept: MEDIA_TYPES.ociIndex },
      read: (response, { timeouts }) => readReferrersPage(response, request.registry, timeouts.idle),
    });

  async function fromApi(request: ReferrersRequest): Promise<UpstreamReferrer[]> {
    const all: UpstreamReferrer[] = [];
    let query: string | undefined;
    let bytes = 0;
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      const { referrers, next } = await page(request, query);
      bytes += JSON.stringify(referrers).length;
      if (bytes > MAX_MANIFEST_BYTES) break;
      all.push(...referrers);
      if (next === undefined) return all;
      query = next;
    }
    throw new UpstreamError("lists too many referrers", { kind: "invalid", registry: request.registry });
  }

  /** What the tag holds may be anything; then there are no referrers, says the spec. */
  async function fromTag(request: ReferrersRequest): Promise<UpstreamReferrer[]> {
    try {
      const { bytes } = await getManifest({ ...request, reference: referrersTag(request.subject) });
      return parseReferrers(bytes) ?? [];
    } catch (error) {
      if (isUpstreamError(error) && error.kind === "not-found") return [];
      throw error;
    }
  }

  return async function referrers(request: ReferrersRequest): Promise<UpstreamReferrer[]> {
    try {
      return sortReferrers(await fromApi(request));
    } catch (error) {
      if (!isUpstreamError(error) || error.kind !== "not-found") throw error;
      return sortReferrers(await fromTag(request));
    }
  };
}
