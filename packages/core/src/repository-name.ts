import { CodedError } from "./errors.ts";

/** Distribution spec, "Pulling manifests": grammar of `<name>` and of a tag. */
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Clients limit `host/name` to 255 characters (spec note on name length). */
export const MAX_NAME_LENGTH = 255;

export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && NAME.test(text);
}

/** @throws CodedError NAME_INVALID */
export function parseRepositoryName(text: string): string {
  if (isRepositoryName(text)) return text;
  throw new CodedError(
    "NAME_INVALID",
    "invalid repository name: allowed are lower-case letters, digits and single separators . _ __ - in components divided by /, at most 255 characters",
    { detail: { name: text.slice(0, 300) } },
  );
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}
