import { CodedError } from "@cache-registry/core/errors";
import type { Page } from "@cache-registry/storage/metadata-store/metadata-store";

/** Entries of a page without `n`, and the most that one page holds (CVE-2023-2253: `n` must not size an allocation). */
const MAX_PAGE = 1_000;
const MAX_LAST = 512;

/** `n` and `last` of a listing. @throws CodedError BAD_REQUEST naming the parameter */
export function pageOf(query: URLSearchParams): Page {
  const n = query.get("n");
  if (n !== null && !/^\d{1,10}$/.test(n))
    throw new CodedError("BAD_REQUEST", "n must be a whole number of at most ten digits");
  const last = query.get("last");
  if (last !== null && last.length > MAX_LAST)
    throw new CodedError("BAD_REQUEST", `last is longer than ${MAX_LAST} characters`);
  const limit = n === null ? MAX_PAGE : Math.min(Number(n), MAX_PAGE);
  return last === null || last === "" ? { limit } : { limit, last };
}

/** RFC 8288: the page after `last` of the same listing, with the other parameters that made it. */
export function nextLink(
  path: string,
  { limit, last }: { readonly limit: number; readonly last: string },
  others: Readonly<Record<string, string | null>> = {},
): string {
  const query = new URLSearchParams({ n: String(limit), last });
  for (const [key, value] of Object.entries(others)) {
    if (value !== null) query.set(key, value);
  }
  return `<${path}?${query.toString()}>; rel="next"`;
}
