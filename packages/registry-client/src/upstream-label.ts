/** A registry as a label of metrics. */
export type LabelOf = (registry: string) => string;

/** Whoever names registries in requests must not fill the metrics with them. Empty for what has no upstream. */
export function createUpstreamLabels(isListed: (registry: string) => boolean): LabelOf {
  return (registry) => (registry === "" || isListed(registry) ? registry : "unlisted");
}
