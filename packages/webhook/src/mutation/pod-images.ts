import type { Container, Pod, Volume } from "../pod.ts";

/** One place in a pod that names an image. */
export type ImageSlot = {
  /** The container's name, unique among all kinds of containers; an image volume is `volume/<name>`. */
  readonly key: string;
  readonly image: string;
  readonly pullPolicy: string | undefined;
};

/** What a request may change: a new pod as a whole, or, under `pods/ephemeralcontainers`, only those containers. */
export type MutationScope = "pod" | "ephemeralContainers";

type Replace = (slot: ImageSlot) => string;

/** The same list when nothing changed: the patch then need not compare it. */
function mapList<Item, List extends readonly Item[] | null | undefined>(list: List, map: (item: Item) => Item): List {
  if (!list) return list;
  const next = list.map(map);
  return next.some((item, index) => item !== list[index]) ? (next as unknown as List) : list;
}

function replaceInContainer(container: Container, replace: Replace): Container {
  const { name, image, imagePullPolicy } = container;
  if (!image) return container;
  const next = replace({ key: name, image, pullPolicy: imagePullPolicy });
  return next === image ? container : { ...container, image: next };
}

function replaceInVolume(volume: Volume, replace: Replace): Volume {
  const { name, image } = volume;
  if (!image?.reference) return volume;
  const next = replace({ key: `volume/${name}`, image: image.reference, pullPolicy: image.pullPolicy });
  return next === image.reference ? volume : { ...volume, image: { ...image, reference: next } };
}

/** Calls `replace` for every image in scope, in the order of the spec, and gives the spec with its answers. */
export function replaceImages(spec: Pod["spec"], scope: MutationScope, replace: Replace): Pod["spec"] {
  const inContainers = (list: Container[] | null | undefined) =>
    mapList(list, (container: Container) => replaceInContainer(container, replace));
  if (scope === "ephemeralContainers") {
    const ephemeralContainers = inContainers(spec.ephemeralContainers);
    return ephemeralContainers === spec.ephemeralContainers ? spec : { ...spec, ephemeralContainers };
  }
  const initContainers = inContainers(spec.initContainers);
  const containers = inContainers(spec.containers) ?? spec.containers;
  const volumes = mapList(spec.volumes, (volume: Volume) => replaceInVolume(volume, replace));
  const same = initContainers === spec.initContainers && containers === spec.containers && volumes === spec.volumes;
  if (same) return spec;
  return {
    ...spec,
    containers,
    ...(initContainers ? { initContainers } : {}),
    ...(volumes ? { volumes } : {}),
  };
}
