import { parseImageReference, printImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import type { CachedImageSpec } from "@cache-registry/kube/cached-image";
import type { OldRecord } from "./predecessors.ts";

export type Converted = { readonly spec: CachedImageSpec; readonly warning?: string } | { readonly refused: string };

/** `harbor-5000`: the predecessors wrote the `:` of a port as `-`, which many host names have themselves. */
const MAYBE_PORT = /^([^/]+)-(\d{2,5})\//;

/**
 * What an old record becomes. `registries`: hosts with a port that exist (`harbor:5000`), so that `harbor-5000/app` can be
 * told from a host that is called so.
 */
export function convertRecord({ metadata, spec }: OldRecord, registries: ReadonlySet<string>): Converted {
  const source = spec?.sourceImage;
  if (typeof source !== "string") return { refused: `${metadata.name}: has no spec.sourceImage` };
  const [, host = "", port = ""] = MAYBE_PORT.exec(source) ?? [];
  const listed = host !== "" && registries.has(`${host}:${port}`);
  const text = listed ? `${host}:${port}${source.slice(host.length + port.length + 1)}` : source;
  const reference = parseImageReference(text);
  if (!reference) return { refused: `${source}: is no image reference` };
  const sourceImage = printImageReference(withDefaultTag(reference));
  const converted: CachedImageSpec = { sourceImage, ...(spec?.retain === true ? { retain: true } : {}) };
  const unsure = host !== "" && !listed && host.includes(".");
  if (!unsure) return { spec: converted };
  return { spec: converted, warning: `${source}: say --registry ${host}:${port} if that is meant` };
}
