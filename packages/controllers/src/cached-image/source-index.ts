import { parseImageReference, printImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import type { CachedImage } from "@cache-registry/kube/cached-image";
import type { Change } from "@cache-registry/kube/object-store";

/** Which CachedImages stand for an image. Usually one; users may make more, under names of their own. */
export interface SourceIndex {
  has(reference: string): boolean;
  /** Names of the CachedImages. */
  namesOf(reference: string): readonly string[];
  references(): IterableIterator<string>;
  apply(change: Change<CachedImage>): void;
}

/** `spec.sourceImage` in the form that everything is compared by. Undefined: no valid reference (made by hand). */
export function referenceOf(image: CachedImage): string | undefined {
  const reference = parseImageReference(image.spec.sourceImage);
  return reference && printImageReference(withDefaultTag(reference));
}

export function createSourceIndex(): SourceIndex {
  const names = new Map<string, Set<string>>();
  return {
    has: (reference) => names.has(reference),
    namesOf: (reference) => [...(names.get(reference) ?? [])],
    references: () => names.keys(),
    apply({ type, key, object }) {
      const reference = referenceOf(object);
      if (reference === undefined) return;
      const existing = names.get(reference) ?? new Set();
      // sourceImage cannot change, so an update never moves an object to another reference.
      if (type === "deleted") existing.delete(key);
      else existing.add(key);
      if (existing.size === 0) names.delete(reference);
      else names.set(reference, existing);
    },
  };
}
