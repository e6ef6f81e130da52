import type { AdmissionAnswer, AdmissionRequest } from "../admission-review.ts";
import type { JsonPatch } from "../mutation/patch.ts";
import { testPod } from "./pods.ts";

/** What the API server asks when a controller creates a pod: the name is not known yet. For tests. */
export function testRequest(keys: Partial<AdmissionRequest> = {}): AdmissionRequest {
  return {
    uid: "705ab4f5-6393-11e8-b7cc-42010a800002",
    operation: "CREATE",
    resource: { group: "", version: "v1", resource: "pods" },
    subResource: "",
    namespace: "shop",
    name: "",
    dryRun: false,
    object: testPod(),
    oldObject: null,
    ...keys,
  };
}

/** The AdmissionReview around a request, with fields the webhook does not look at. */
export function testReview(request: unknown = testRequest()): unknown {
  const ignored = {
    kind: { group: "", version: "v1", kind: "Pod" },
    userInfo: { username: "system:admin" },
    options: {},
  };
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { ...ignored, ...(request as object) },
  };
}

export function patchIn(answer: AdmissionAnswer): JsonPatch | undefined {
  const { patch } = answer.response;
  return patch === undefined ? undefined : (JSON.parse(Buffer.from(patch, "base64").toString()) as JsonPatch);
}
