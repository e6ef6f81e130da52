import { headerOf } from "../body.ts";

/** What an upstream says about its own limit, as Docker Hub does. */
export type Quota = {
  /** Requests that are left; on Docker Hub the GETs of manifests. */
  readonly remaining: number;
  /** Of how many, when told. */
  readonly limit: number | undefined;
  /** Within so many milliseconds, when told. */
  readonly window: number | undefined;
};

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** `100;w=21600` */
function parseValue(
  text: string | undefined,
): { readonly count: number; readonly window: number | undefined } | undefined {
  const [, count, seconds] = /^\s*(\d{1,9})(?:\s*;\s*w\s*=\s*(\d{1,9}))?\s*$/i.exec(text ?? "") ?? [];
  if (count === undefined) return undefined;
  return { count: Number(count), window: seconds === undefined ? undefined : Number(seconds) * 1000 };
}

/** `ratelimit-limit` and `ratelimit-remaining` in the form of Docker Hub (docs.docker.com, "Docker Hub pull usage and limits"). */
export function parseQuota(headers: Headers): Quota | undefined {
  const remaining = parseValue(headerOf(headers, "ratelimit-remaining"));
  if (!remaining) return undefined;
  const limit = parseValue(headerOf(headers, "ratelimit-limit"));
  return { remaining: remaining.count, limit: limit?.count, window: remaining.window ?? limit?.window };
}

/** Share of the limit that warm-ups leave to the pulls of pods. */
const RESERVED_SHARE = 0.1;
/** Where the limit is not told. */
const RESERVED_REQUESTS = 10;

/** Is what is left better kept for the pods? */
export function isLow({ remaining, limit }: Quota): boolean {
  return remaining <= (limit === undefined ? RESERVED_REQUESTS : limit * RESERVED_SHARE);
}
