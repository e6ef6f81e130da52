import { CodedError } from "@cache-registry/core/errors";
import { type ImageReference, parseImageReference } from "@cache-registry/core/image-reference";
import type { FastifyRequest } from "fastify";
import { z } from "zod";

/** Who wants an image to stay. */
export const Owner = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,128}$/, "an owner is 1 to 128 characters of A-Z a-z 0-9 . _ : -");

/** @throws CodedError BAD_REQUEST naming every field that is wrong */
export function parseInput<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join(".") || "value"}: ${issue.message}`);
  throw new CodedError("BAD_REQUEST", problems.join("; "));
}

/** Of a path that ends in `/:reference`. @throws CodedError BAD_REQUEST */
export function referenceOf(request: FastifyRequest): ImageReference {
  const text = (request.params as { reference: string }).reference;
  const reference = parseImageReference(text);
  if (reference) return reference;
  throw new CodedError(
    "BAD_REQUEST",
    "not an image reference: expected a URL-encoded [registry/]repository[:tag][@digest]",
  );
}

export function queryOf(request: FastifyRequest): URLSearchParams {
  const mark = request.url.indexOf("?");
  return new URLSearchParams(mark < 0 ? "" : request.url.slice(mark + 1));
}
