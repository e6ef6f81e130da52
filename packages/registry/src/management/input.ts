import { CodedError } from "@cache-registry/core/errors";
import type { z } from "zod";

/** @throws CodedError BAD_REQUEST naming every field that is wrong */
export function parseInput<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".") || "value"}: ${issue.message}`);
  throw new CodedError("BAD_REQUEST", problems.join("; "));
}
