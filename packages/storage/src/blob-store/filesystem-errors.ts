import { CodedError } from "@cache-registry/core/errors";

export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** ENOENT, or ELOOP: a symbolic link where a file of ours should be is as good as nothing there. */
export function isAbsent(error: unknown): boolean {
  const code = errnoOf(error);
  return code === "ENOENT" || code === "ELOOP";
}

const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);
/** The disk is damaged, was made read-only, or there are no file handles left: errno(3). */
const UNUSABLE: ReadonlySet<string> = new Set(["EIO", "EROFS", "EMFILE", "ENFILE"]);

export function isFull(error: unknown): boolean {
  return FULL.has(errnoOf(error) ?? "");
}

/** What a failed access means to callers: a full disk or quota has a code of its own, so has a disk that does not work. */
export function storeError(error: unknown): unknown {
  if (isFull(error)) {
    return new CodedError("INSUFFICIENT_STORAGE", "the disk of the registry is full", { cause: error });
  }
  const code = errnoOf(error) ?? "";
  if (!UNUSABLE.has(code)) return error;
  const options = { cause: error, headers: { "retry-after": "10" } };
  return new CodedError("UNAVAILABLE", `the disk of the registry does not work: ${code}`, options);
}
