import type { Informer } from "@cache-registry/kube/informer";
import type { NodeRecord } from "./node-record.ts";

/** The platforms of the nodes, for images that name none themselves. */
export interface NodePlatforms {
  /** `linux/amd64`, in order. Undefined: no node has said its own. */
  current(): readonly string[] | undefined;
}

export type NodePlatformsDeps = {
  readonly nodes: Pick<Informer<NodeRecord>, "onChange">;
  /** A platform that none of the nodes had so far. */
  readonly onNew: () => void;
  /** Monotonic milliseconds. */
  readonly clock: () => number;
  /** How long a platform counts after its last node: node pools are scaled to nothing and back. Milliseconds. */
  readonly linger: number;
};

/** The API server's own limit of spec.platforms, and the registry's of a wish. */
const MAX_PLATFORMS = 32;
/** Pods for Windows are not rewritten, and no proxy runs there. */
const OS = "linux/";

export function createNodePlatforms({ nodes, onNew, clock, linger }: NodePlatformsDeps): NodePlatforms {
  const platformOf = new Map<string, string>();
  /** Nodes of each platform, and since when there are none. */
  const platforms = new Map<string, { nodes: number; since: number }>();

  function leave(node: string): void {
    const entry = platforms.get(platformOf.get(node) ?? "");
    platformOf.delete(node);
    if (entry === undefined) return;
    entry.nodes -= 1;
    entry.since = clock();
  }

  function join(node: string, platform: string): void {
    platformOf.set(node, platform);
    const entry = platforms.get(platform);
    if (entry) {
      entry.nodes += 1;
      return;
    }
    platforms.set(platform, { nodes: 1, since: clock() });
    onNew();
  }

  nodes.onChange(({ type, key, object: { platform } }) => {
    const now = type !== "deleted" && platform?.startsWith(OS) ? platform : undefined;
    if (platformOf.get(key) === now) return;
    leave(key);
    if (now !== undefined) join(key, now);
  });

  return {
    current() {
      for (const [platform, { nodes: count, since }] of platforms) {
        if (count === 0 && clock() - since >= linger) platforms.delete(platform);
      }
      return platforms.size === 0 ? undefined : [...platforms.keys()].sort().slice(0, MAX_PLATFORMS);
    },
  };
}
