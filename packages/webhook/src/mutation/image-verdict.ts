import type { SkipReason } from "../eligibility/eligibility.ts";

/** What became of one image, and why. `cached`: it was below the endpoint already. */
export type ImageVerdict = { readonly key: string; readonly image: string } & (
  | { readonly result: "rewritten"; readonly cached: string }
  | { readonly result: "cached" }
  | { readonly result: "skipped"; readonly reason: SkipReason; readonly message: string }
);
