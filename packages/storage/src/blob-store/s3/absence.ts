import { StoreResponseError } from "../object-store/errors.ts";

/** The one answer that says that an object is not there. Any other 404 says nothing of it. */
export function isNoSuchKey(error: unknown): boolean {
  return error instanceof StoreResponseError && error.status === 404 && error.code === "NoSuchKey";
}
