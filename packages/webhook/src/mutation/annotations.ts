import { ORIGINAL_IMAGES_ANNOTATION, SKIPPED_IMAGES_ANNOTATION } from "@cache-registry/core/labels";
import type { ImageVerdict } from "./image-verdict.ts";

type Annotations = Readonly<Record<string, string>>;
type TextMap = ReadonlyMap<string, string>;

/** The API server refuses pods with more: keys and values together (apimachinery TotalAnnotationSizeLimitB). */
const MAX_ANNOTATIONS_BYTES = 256 * 1024;

/** What an earlier pass, or a user, wrote. Anything but a map of texts counts as nothing. */
function readTextMap(text: string | undefined): TextMap {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (typeof value !== "object" || value === null || Array.isArray(value)) return new Map();
    return new Map(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  } catch {
    return new Map();
  }
}

/** Images as written: of those rewritten now, and, of those rewritten earlier, what is already noted. */
function originalsOf(verdicts: readonly ImageVerdict[], noted: TextMap): TextMap {
  const originals = new Map<string, string>();
  for (const verdict of verdicts) {
    const original = verdict.result === "rewritten" ? verdict.image : noted.get(verdict.key);
    if (verdict.result !== "skipped" && original !== undefined) originals.set(verdict.key, original);
  }
  return originals;
}

function skippedOf(verdicts: readonly ImageVerdict[]): TextMap {
  return new Map(
    verdicts.flatMap((verdict) => (verdict.result === "skipped" ? [[verdict.key, verdict.reason] as const] : [])),
  );
}

function sameEntries(one: TextMap, other: TextMap): boolean {
  return one.size === other.size && [...one].every(([key, value]) => other.get(key) === value);
}

/** Undefined removes the key. The text stays as it is when it already says the same. */
function textFor(map: TextMap, current: string | undefined): string | undefined {
  if (map.size === 0) return undefined;
  const same = current !== undefined && sameEntries(map, readTextMap(current));
  return same ? current : JSON.stringify(Object.fromEntries(map));
}

function fits(annotations: Annotations): boolean {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  return bytes <= MAX_ANNOTATIONS_BYTES;
}

function withTexts(annotations: Annotations, texts: Readonly<Record<string, string | undefined>>): Annotations {
  const rest = Object.entries(annotations).filter(([key]) => !Object.hasOwn(texts, key));
  const added = Object.entries(texts).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries([...rest, ...added]);
}

/**
 * The pod's annotations with our two set, or removed where they would be empty. They are notes for people: where they
 * would make the pod too large for the API server they are left out, since nothing but people reads them.
 */
export function annotate(
  current: Annotations | null | undefined,
  verdicts: readonly ImageVerdict[],
): Annotations | null | undefined {
  const before = current ?? {};
  const originalsBefore = before[ORIGINAL_IMAGES_ANNOTATION];
  const skippedBefore = before[SKIPPED_IMAGES_ANNOTATION];
  const originals = textFor(originalsOf(verdicts, readTextMap(originalsBefore)), originalsBefore);
  const skipped = textFor(skippedOf(verdicts), skippedBefore);
  const candidates: readonly (readonly [string | undefined, string | undefined])[] = [
    [originals, skipped],
    [originals, undefined],
    [undefined, skipped],
  ];
  const [originalsAfter, skippedAfter] = candidates.find(([originalsText, skippedText]) =>
    fits(withTexts(before, { [ORIGINAL_IMAGES_ANNOTATION]: originalsText, [SKIPPED_IMAGES_ANNOTATION]: skippedText })),
  ) ?? [undefined, undefined];
  if (originalsAfter === originalsBefore && skippedAfter === skippedBefore) return current;
  return withTexts(before, {
    [ORIGINAL_IMAGES_ANNOTATION]: originalsAfter,
    [SKIPPED_IMAGES_ANNOTATION]: skippedAfter,
  });
}
