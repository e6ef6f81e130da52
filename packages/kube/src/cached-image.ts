import { createHash } from "node:crypto";
import { z } from "zod";
import type { ObjectMeta } from "./object.ts";

/**
 * The CachedImage kind: the record that the cluster uses an image. The CRD is generated from these schemas
 * (hack/generate-crd.ts), so descriptions here are what `kubectl explain` prints.
 */
export const CachedImageSpec = z.object({
  sourceImage: z
    .string()
    .min(1)
    .max(1_024)
    .describe("The image as its registry knows it, docker.io and :latest spelled out. Cannot be changed."),
  retain: z.boolean().optional().describe("Keep the image in the cache even while nothing uses it."),
  platforms: z
    .array(z.string().regex(/^[a-z0-9]+\/[a-z0-9_]+(\/[a-z0-9_.]+)?$/))
    .max(32)
    .optional()
    .describe(
      "Platforms to keep warm, such as linux/amd64 or linux/arm/v7. Left out: what the controllers are set to.",
    ),
  pullSecrets: z
    .array(z.object({ namespace: z.string().min(1).max(63), name: z.string().min(1).max(253) }))
    .max(32)
    .optional()
    .describe("Secrets of type kubernetes.io/dockerconfigjson that may be used to fetch the image."),
});
export type CachedImageSpec = z.infer<typeof CachedImageSpec>;

export const PHASES = ["Pending", "Pulling", "Ready", "Stale", "Failed", "Expiring"] as const;
export type Phase = (typeof PHASES)[number];

/** https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md (conditions) */
export const Condition = z.object({
  type: z.string().min(1).max(316),
  status: z.enum(["True", "False", "Unknown"]),
  observedGeneration: z.int().min(0).optional(),
  lastTransitionTime: z.iso.datetime(),
  reason: z.string().min(1).max(1_024),
  message: z.string().max(32_768),
});
export type Condition = z.infer<typeof Condition>;

/** `status.usedBy.pods` is a sample; `count` is the truth. */
export const MAX_LISTED_PODS = 10;

export const CachedImageStatus = z.object({
  phase: z
    .enum(PHASES)
    .optional()
    .describe("Ready and Stale images start without their upstream. Expiring: nothing uses the image any more."),
  digest: z.string().optional().describe("Digest of the manifest or index in the cache."),
  upstreamDigest: z.string().optional().describe("Digest that the upstream had when it was last asked."),
  size: z.int().min(0).optional().describe("Bytes of the image in the cache."),
  progress: z.int().min(0).max(100).optional().describe("Percent of the bytes that have arrived."),
  usedBy: z
    .object({
      count: z.int().min(0).describe("Pods that name the image."),
      pods: z.array(z.string()).max(MAX_LISTED_PODS).optional().describe("Some of them, as namespace/name."),
    })
    .optional(),
  unusedSince: z.iso.datetime().optional().describe("Since when neither a pod nor an owner names the image."),
  expiresAt: z.iso.datetime().optional().describe("When this object, and then the cached image, will be deleted."),
  conditions: z.array(Condition).max(16).optional(),
});
export type CachedImageStatus = z.infer<typeof CachedImageStatus>;

export type CachedImage = {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: CachedImageSpec;
  status?: CachedImageStatus;
};

/** DNS subdomain name (RFC 1123), the limit of object names. */
const MAX_OBJECT_NAME = 253;
/** 60 bits; two references must also share their slug to meet. */
const HASH_LENGTH = 12;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/**
 * `docker.io/library/nginx:1.27` → `docker.io-library-nginx-1.27-<hash>`: the slug is for people, the hash of the whole
 * reference keeps references apart that share a slug (`a/b` and `a-b`, tags differing in case) or are too long.
 */
export function cachedImageName(reference: string): string {
  const slug = reference
    .toLowerCase()
    // The first 12 digits of a digest are enough for people.
    .replace(/@sha(\d+):([0-9a-f]{12})[0-9a-f]*/, "-sha$1-$2")
    .replace(/[^a-z0-9.]+/g, "-")
    // Each label between dots must begin and end with a letter or digit.
    .replace(/[-.]*\.[-.]*/g, ".")
    .slice(0, MAX_OBJECT_NAME - HASH_LENGTH - 1)
    .replace(/^[-.]+|[-.]+$/g, "");
  const hash = base32(createHash("sha256").update(reference).digest(), HASH_LENGTH);
  return slug === "" ? hash : `${slug}-${hash}`;
}

function base32(bytes: Uint8Array, length: number): string {
  let text = "";
  for (let index = 0; index < length; index += 1) text += BASE32.charAt((bytes[index] ?? 0) & 31);
  return text;
}
