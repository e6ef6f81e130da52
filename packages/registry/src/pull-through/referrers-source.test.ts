import { CodedError } from "@cache-registry/core/errors";
import { digestOfBytes } from "@cache-registry/core/verify";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import type { UpstreamReferrer } from "@cache-registry/registry-client/referrers";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import { describe, expect, it } from "vitest";
import { upstreamRepository } from "../content/repository.ts";
import type { PullThroughMetrics } from "./pull-through-metrics.ts";
import { createReferrersSource } from "./referrers-source.ts";

const repository = upstreamRepository("example.com", "library/app");
const subject = digestOfBytes(Buffer.from("subject"));
const signature: UpstreamReferrer = {
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  digest: digestOfBytes(Buffer.from("signature")),
  size: 9,
};

/** A store that cannot write, as on a full disk. */
function sourceWith(failure: Error, notStored: unknown[]) {
  return createReferrersSource({
    metadata: {
      referrersAnswer: async () => undefined,
      putReferrersAnswer: () => Promise.reject(failure),
    } as Partial<MetadataStore> as MetadataStore,
    client: { referrers: async () => [signature] } as Partial<UpstreamClient> as UpstreamClient,
    tagPolicyOf: () => ({ ttl: 0, freeze: false }),
    metrics: {} as PullThroughMetrics,
    notStored: (...told) => notStored.push(told),
  });
}

describe("an answer that cannot be kept", () => {
  it("is passed on when the store is to blame", async () => {
    const full = new CodedError("INSUFFICIENT_STORAGE");
    const told: unknown[] = [];
    expect(await sourceWith(full, told)(repository, subject)).toEqual({ referrers: [signature], outcome: "miss" });
    expect(told).toEqual([["manifest", "example.com", full]]);
  });

  it("is none when the store refuses it", async () => {
    const told: unknown[] = [];
    const refused = sourceWith(new CodedError("DENIED", "another origin"), told)(repository, subject);
    await expect(refused).rejects.toThrow("another origin");
    expect(told).toEqual([]);
  });
});
