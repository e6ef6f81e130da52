import { z } from "zod";
import { type Digest, isDigest } from "./digest.ts";
import { Platform } from "./platform.ts";

/** A digest string checked by the grammar of digest.ts. */
export const DigestText = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "invalid digest");

/** OCI image spec, "Content Descriptors": only the fields we use. Size in bytes. */
export const Descriptor = z.object({
  mediaType: z.string().min(1),
  digest: DigestText,
  size: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
  platform: Platform.optional(),
  artifactType: z.string().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
export type Descriptor = z.infer<typeof Descriptor>;
