import { z } from "zod";
import { type Digest, isDigest } from "./digest.ts";
import { Platform } from "./platform.ts";

/** A digest string checked by the grammar of digest.ts. */
export const DigestText = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "invalid digest");

function isTextMap(value: unknown): value is Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((item) => typeof item === "string");
}

/** OCI image spec, "Annotations". One issue however many entries are wrong: a manifest may hold 400,000 of them. */
export const Annotations = z.custom<Readonly<Record<string, string>>>(isTextMap, "expected a map of texts");

/** OCI image spec, "Content Descriptors": only the fields we use. Size in bytes. */
export const Descriptor = z.object({
  mediaType: z.string().min(1),
  digest: DigestText,
  size: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
  platform: Platform.optional(),
  artifactType: z.string().optional(),
  annotations: Annotations.optional(),
});
export type Descriptor = z.infer<typeof Descriptor>;
