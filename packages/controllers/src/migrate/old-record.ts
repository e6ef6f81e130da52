import { parseImageReference, printImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import type { CachedImageSpec } from "@cache-registry/kube/cached-image";
import type { OldRecord } from "./predecessors.ts";

export type Converted = { readonly spec: CachedImageSpec; readonly warning?: string } | { readonly refused: string };

/** `harbor-5000`: the predecessors wrote the `:` of a port as `-`, which many host names have themselves. */
const MAYBE_PORT = /^([^/]+)-(\d{2,5})\//;

/** An image as a predecessor's user wrote it. `doubt`: where its host may be one with a port. */
type OldName = { readonly image: string; readonly doubt?: string };

/**
 * A predecessor's name of an image, read. `registries`: hosts that exist, with their port (`harbor:5000`) or, where it is
 * none, as they stand (`harbor-5000`), so that the two can be told apart.
 */
export function readOldName(source: string, registries: ReadonlySet<string>): OldName {
  const [, host = "", port = ""] = MAYBE_PORT.exec(source) ?? [];
  if (host === "") return { image: source };
  if (registries.has(`${host}:${port}`)) {
    return { image: `${host}:${port}${source.slice(host.length + port.length + 1)}` };
  }
  const unsure = host.includes(".") && !registries.has(`${host}-${port}`);
  return unsure
    ? { image: source, doubt: `${source}: say --registry ${host}:${port} if that is meant` }
    : { image: source };
}

/** What an old record becomes. `registries`: see `readOldName`. */
export function convertRecord({ metadata, spec }: OldRecord, registries: ReadonlySet<string>): Converted {
  const source = spec?.sourceImage;
  if (typeof source !== "string") return { refused: `${metadata.name}: has no spec.sourceImage` };
  const { image, doubt } = readOldName(source, registries);
  const reference = parseImageReference(image);
  if (!reference) return { refused: `${source}: is no image reference` };
  const sourceImage = printImageReference(withDefaultTag(reference));
  const converted: CachedImageSpec = { sourceImage, ...(spec?.retain === true ? { retain: true } : {}) };
  return { spec: converted, ...(doubt === undefined ? {} : { warning: doubt }) };
}
