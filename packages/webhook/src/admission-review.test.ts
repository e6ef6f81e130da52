import { expect, it } from "vitest";
import { allow, allowWith } from "./admission-review.ts";

const envelope = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" };

it("allows", () => {
  expect(allow("1-2")).toEqual({ ...envelope, response: { uid: "1-2", allowed: true } });
  expect(allowWith("1-2", [])).toEqual(allow("1-2"));
});

it("allows with a patch in base64", () => {
  const answer = allowWith("1-2", [{ op: "add", path: "/metadata/labels/a~1b", value: "é" }]);
  const { patch = "", ...response } = answer.response;
  expect(response).toEqual({ uid: "1-2", allowed: true, patchType: "JSONPatch" });
  expect(JSON.parse(Buffer.from(patch, "base64").toString())).toEqual([
    { op: "add", path: "/metadata/labels/a~1b", value: "é" },
  ]);
});
