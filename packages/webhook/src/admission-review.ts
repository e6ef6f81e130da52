import { z } from "zod";
import type { JsonPatch } from "./mutation/patch.ts";

/** `admission.k8s.io/v1` AdmissionReview as the API server sends it: only the fields we use. */
const AdmissionRequest = z.object({
  uid: z.string().min(1),
  operation: z.string(),
  resource: z.object({ group: z.string().default(""), version: z.string(), resource: z.string() }),
  subResource: z.string().default(""),
  /** The request's; the object's own may still be missing at admission, like its name under generateName. */
  namespace: z.string().default(""),
  name: z.string().default(""),
  dryRun: z.boolean().nullish(),
  object: z.unknown().optional(),
  oldObject: z.unknown().optional(),
});
export type AdmissionRequest = z.infer<typeof AdmissionRequest>;

export const AdmissionReview = z.object({
  apiVersion: z.literal("admission.k8s.io/v1"),
  kind: z.literal("AdmissionReview"),
  request: AdmissionRequest,
});

/** The answer. `allowed` has no other value: this webhook never refuses a pod. */
export type AdmissionAnswer = {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: {
    readonly uid: string;
    readonly allowed: true;
    readonly patchType?: "JSONPatch";
    /** Base64 of the JSON patch. */
    readonly patch?: string;
  };
};

export function allow(uid: string): AdmissionAnswer {
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: true } };
}

/** An empty patch is left out: the API server then skips decoding the pod once more. */
export function allowWith(uid: string, patch: JsonPatch): AdmissionAnswer {
  const answer = allow(uid);
  if (patch.length === 0) return answer;
  const encoded = Buffer.from(JSON.stringify(patch)).toString("base64");
  return { ...answer, response: { ...answer.response, patchType: "JSONPatch", patch: encoded } };
}
