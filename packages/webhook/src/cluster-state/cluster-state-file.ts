import { readFile, stat } from "node:fs/promises";
import { MAX_CLUSTER_STATE_BYTES, parseClusterState } from "@cache-registry/core/cluster-state";
import { messageOf } from "@cache-registry/core/errors";
import { watchFiles } from "@cache-registry/runtime/file-watch";
import type { Health } from "@cache-registry/runtime/health";
import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { type ClusterView, closedView, viewOf } from "./cluster-view.ts";

const DEFAULT_POLL_INTERVAL = 5_000;

export type ClusterStateFileOptions = {
  /** A mounted ConfigMap, which may not exist yet: the controllers write it. */
  readonly file: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Unix milliseconds: what the controllers write are times of day. */
  readonly now?: () => number;
  /** Milliseconds between looks at the file, for file systems that do not notify. */
  readonly pollInterval?: number;
};

/** The state of the cluster in a file that the controllers keep; followed in the background, looked at without I/O. */
export type ClusterStateFile = {
  /** What the file says. Whatever is wrong with it counts as an unhealthy cache: nothing is rewritten. */
  view(): ClusterView;
  /** Reads the file now. */
  read(): Promise<void>;
  readonly service: Service;
};

export function createClusterStateFile(options: ClusterStateFileOptions): ClusterStateFile {
  const { file, logger, metrics, health, now = Date.now, pollInterval = DEFAULT_POLL_INTERVAL } = options;
  const healthy = metrics.gauge({
    name: "webhook_cluster_healthy",
    help: "1 while images are rewritten, 0 while the controllers' state says or shows that they should not be",
  });
  const loops = metrics.gauge({
    name: "webhook_looping_owners",
    help: "Owners of pods that are left alone because they kept recreating rewritten pods",
  });
  let text: string | undefined;
  let view = closedView("the cluster state was not read yet");
  show(0);
  health.addCheck({ name: "cluster state", warnOnly: true, check: () => view.unhealthy });

  function show(owners: number): void {
    healthy.set(view.unhealthy === undefined ? 1 : 0);
    loops.set(owners);
  }

  function adopt(next: ClusterView, owners: number): void {
    const { unhealthy } = next;
    if (unhealthy !== undefined && unhealthy !== view.unhealthy) {
      logger.warn({ file, why: unhealthy }, "no images are rewritten");
    } else if (unhealthy === undefined && view.unhealthy !== undefined) {
      logger.info({ file, loopingOwners: owners }, "images are rewritten");
    }
    view = next;
    show(owners);
  }

  function refuse(why: string): void {
    adopt(closedView(why), 0);
  }

  async function look(): Promise<void> {
    try {
      const { size } = await stat(file);
      if (size > MAX_CLUSTER_STATE_BYTES) throw new Error(`larger than ${MAX_CLUSTER_STATE_BYTES} bytes`);
      const content = await readFile(file, "utf8");
      if (content === text) return;
      text = content;
      const parsed = parseClusterState(content);
      if ("problem" in parsed) refuse(`the cluster state is not valid: ${parsed.problem}`);
      else adopt(viewOf(parsed.state, now), parsed.state.loops.length);
    } catch (error) {
      text = undefined;
      refuse(`the cluster state cannot be read: ${messageOf(error)}`);
    }
  }

  // One look at a time, so that an older content never replaces a newer one.
  let queue: Promise<void> = Promise.resolve();
  function read(): Promise<void> {
    queue = queue.then(look);
    return queue;
  }

  let stopWatching = (): void => {};
  return {
    view: () => view,
    read,
    service: {
      name: "cluster state",
      async start() {
        stopWatching = watchFiles([file], pollInterval, () => void read());
        await read();
      },
      stop: () => stopWatching(),
    },
  };
}
