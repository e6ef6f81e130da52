import { expect, it } from "vitest";
import { CodedError, ERROR_CODES, errorBody, isCodedError, messageOf } from "./errors.ts";

it("gives every code an error status and a message, in the spec's notation", () => {
  for (const [code, { status, message }] of Object.entries(ERROR_CODES)) {
    expect(code).toMatch(/^[A-Z_0-9]+$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(message).not.toBe("");
  }
});

it("has the codes of the distribution spec with their statuses", () => {
  const statuses = Object.fromEntries(Object.entries(ERROR_CODES).map(([code, { status }]) => [code, status]));
  expect(statuses).toMatchObject({
    BLOB_UNKNOWN: 404,
    BLOB_UPLOAD_INVALID: 400,
    BLOB_UPLOAD_UNKNOWN: 404,
    DIGEST_INVALID: 400,
    MANIFEST_BLOB_UNKNOWN: 404,
    MANIFEST_INVALID: 400,
    MANIFEST_UNKNOWN: 404,
    NAME_INVALID: 400,
    NAME_UNKNOWN: 404,
    SIZE_INVALID: 400,
    UNAUTHORIZED: 401,
    DENIED: 403,
    UNSUPPORTED: 405,
    TOOMANYREQUESTS: 429,
  });
});

it("carries its status, detail, headers and cause, each with a default", () => {
  const plain = new CodedError("NAME_UNKNOWN");
  expect(plain).toMatchObject({
    status: 404,
    message: ERROR_CODES.NAME_UNKNOWN.message,
    detail: undefined,
    headers: {},
  });
  expect("cause" in plain).toBe(false);
  const cause = new Error("why");
  const full = new CodedError("TOOMANYREQUESTS", "later", {
    status: 503,
    detail: { a: 1 },
    headers: { "retry-after": "1" },
    cause,
  });
  expect(full).toMatchObject({
    code: "TOOMANYREQUESTS",
    status: 503,
    message: "later",
    headers: { "retry-after": "1" },
    cause,
  });
  expect(isCodedError(full)).toBe(true);
  expect(isCodedError({ code: full.code, status: full.status })).toBe(false);
  expect(full.name).toBe("CodedError");
});

it("writes the body of the spec, without the cause and without an empty detail", () => {
  const error = new CodedError("DENIED", "no", { cause: new Error("secret") });
  expect(errorBody(error)).toEqual({ errors: [{ code: "DENIED", message: "no" }] });
  expect(errorBody({ code: "X", message: "y", detail: null })).toEqual({
    errors: [{ code: "X", message: "y", detail: null }],
  });
});

it("finds the message of anything thrown", () => {
  expect([new Error("a"), "b", 3, null, undefined].map(messageOf)).toEqual(["a", "b", "3", "null", "undefined"]);
});
