/** Bounds what is remembered: entries that were put first go until `limit` are left. Maps and sets keep that order. */
export function forgetOldest<Key>(entries: Map<Key, unknown> | Set<Key>, limit: number): void {
  for (const oldest of entries.keys()) {
    if (entries.size <= limit) return;
    entries.delete(oldest);
  }
}
