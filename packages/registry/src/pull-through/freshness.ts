import type { TagRecord } from "@cache-registry/storage/metadata-store/metadata-store";

/** How long a tag of an upstream is served without asking, in milliseconds; a frozen one for ever. */
export type TagPolicy = { readonly ttl: number; readonly freeze: boolean };

/** May the held digest be served without asking upstream? A clock that jumped back does not make a tag fresh for ever. */
export function isFresh(tag: Pick<TagRecord, "checkedAt" | "staleSince">, policy: TagPolicy, now: number): boolean {
  if (policy.freeze) return true;
  if (tag.staleSince !== null) return false;
  const age = now - tag.checkedAt;
  return age >= 0 && age < policy.ttl;
}

/** The end of that time, milliseconds since 1970; null: never. */
export function freshUntil(tag: Pick<TagRecord, "checkedAt">, policy: TagPolicy): number | null {
  return policy.freeze ? null : tag.checkedAt + policy.ttl;
}

/** RFC 7234 §5.5 warn-code 299, as distribution spec "Warnings" wants it: `299 - "<text>"`. */
export function staleWarning(reason: string, what = "the tag"): string {
  const text = reason.replace(/[^\x20-\x7e]|["\\]/g, " ").slice(0, 200);
  return `299 - "served from cache: upstream could not confirm ${what} (${text})"`;
}
