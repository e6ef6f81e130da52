import type { z } from "zod";
import { isSecretKey, redactUserinfo } from "../secret-keys.ts";
import { isMapping } from "./document.ts";
import { keysOf, schemasAt, valuesOf } from "./schema-walk.ts";

type Issue = z.core.$ZodIssue;
export type Problem = { readonly path: readonly PropertyKey[]; readonly text: string };

const MAX_SHOWN = 80;

const TYPE_NAMES: Record<string, string> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
};

/** The value as the user wrote it, unless it may be a secret. */
function show(value: unknown, path: readonly PropertyKey[]): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a mapping";
  if (path.some((key) => isSecretKey(String(key)))) return "this value";
  const text = redactUserinfo(JSON.stringify(value) ?? String(value));
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function oneOf(values: readonly unknown[]): string {
  return values.length === 1 ? `expected ${String(values[0])}` : `expected one of ${values.map(String).join(", ")}`;
}

function expectation(issue: Issue): string {
  // Our building blocks say it themselves.
  if (issue.message.startsWith("expected ")) return issue.message;
  if (issue.code === "invalid_value") return oneOf(issue.values);
  if (issue.code === "invalid_type") {
    const unquoted = issue.expected === "string" && ["number", "boolean"].includes(typeof issue.input);
    return `expected ${TYPE_NAMES[issue.expected] ?? issue.expected}${unquoted ? " (in quotes)" : ""}`;
  }
  // "Too small: expected number to be >=1" → "expected number to be >=1"
  return issue.message.replace(/^(?:Too (?:small|big)|Invalid [a-z ]+): /, "");
}

function isWrongKind(issues: readonly Issue[]): boolean {
  return issues.some((issue) => issue.path.length === 0 && ["invalid_type", "invalid_value"].includes(issue.code));
}

/** Of a union, the alternative that the value resembles most explains what is wrong. */
function unionProblems(issue: z.core.$ZodIssueInvalidUnion, root: z.ZodType): Problem[] {
  const { path } = issue;
  // Without a matching discriminator, the path leads to it, but the input is the object around it.
  const { discriminator } = issue;
  const input = discriminator && isMapping(issue.input) ? issue.input[discriminator] : issue.input;
  const similar = issue.errors.filter((issues) => issues.length > 0 && !isWrongKind(issues));
  const best = similar.sort((a, b) => a.length - b.length)[0];
  if (best) return best.flatMap((inner) => problemsOf({ ...inner, path: [...path, ...inner.path] } as Issue, root));
  const values = valuesOf(schemasAt(root, path));
  const kinds = [...new Set(issue.errors.flat().map((inner) => expectation(inner).replace(/^expected /, "")))];
  const expected = kinds.length > 0 ? `expected ${kinds.join(" or ")}` : oneOf(values);
  const text = input === undefined ? `is required; ${expected}` : `${show(input, path)} is not allowed; ${expected}`;
  return [{ path, text }];
}

/** One issue of zod as sentences about keys: each names the key's path and what is allowed. */
export function problemsOf(issue: Issue, root: z.ZodType): Problem[] {
  const { path } = issue;
  if (issue.code === "unrecognized_keys") {
    const allowed = keysOf(schemasAt(root, path)).join(", ");
    return issue.keys.map((key) => ({ path: [...path, key], text: `unknown key; allowed here: ${allowed}` }));
  }
  if (issue.code === "invalid_union" && !issue.message.startsWith("expected ")) return unionProblems(issue, root);
  if (issue.code === "custom") {
    const expected = issue.message.startsWith("expected ");
    return [{ path, text: expected ? `${show(issue.input, path)} is not allowed; ${issue.message}` : issue.message }];
  }
  const missing = issue.input === undefined;
  const subject = missing ? "is required" : `${show(issue.input, path)} is not allowed`;
  return [{ path, text: `${subject}; ${expectation(issue)}` }];
}
