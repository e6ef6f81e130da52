import { CodedError } from "@cache-registry/core/errors";

export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** ENOENT, or ELOOP: a symbolic link where a file of ours should be is as good as nothing there. */
export function isAbsent(error: unknown): boolean {
  const code = errnoOf(error);
  return code === "ENOENT" || code === "ELOOP";
}

/** What a failed write means to callers: a full disk or quota has a code of its own. */
export function writeError(error: unknown): unknown {
  const code = errnoOf(error);
  return code === "ENOSPC" || code === "EDQUOT"
    ? new CodedError("INSUFFICIENT_STORAGE", undefined, { cause: error })
    : error;
}
