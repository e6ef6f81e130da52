/** Where a walk over the least recently used manifests goes on: strictly after these. Opaque to callers as a text. */
export type EvictionCursor = { readonly usedAt: number; readonly id: number };

export function parseCursor(text: string | null): EvictionCursor {
  return text === null ? { usedAt: -1, id: 0 } : (JSON.parse(text) as EvictionCursor);
}

export function printCursor({ usedAt, id }: EvictionCursor): string {
  return JSON.stringify({ usedAt, id });
}
