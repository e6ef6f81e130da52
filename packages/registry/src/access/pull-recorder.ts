import type { Digest } from "@cache-registry/core/digest";
import type { Logger } from "@cache-registry/runtime/logger";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { Pull } from "@cache-registry/storage/metadata-store/pull";

/** How often what was read is written down, in milliseconds: never one write per read. */
const FLUSH_INTERVAL_MS = 30_000;
const MAX_PENDING = 50_000;

export type PullRecorder = {
  /** A manifest was pulled: it is in use, under the tag (`byTag`) or whatever names it. */
  pulled(repository: string, digest: Digest, asked?: { readonly byTag: boolean }): void;
  /** A client was told that a blob is there and will count on it. */
  touched(repository: string, digest: Digest): void;
  /** To be waited for before a client is told so: another replica's collector must know of it. At once with one replica. */
  settle(): Promise<void>;
  /** Writes down what is pending; the collector calls it before it decides. */
  flush(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
};

export type PullRecorderDeps = {
  readonly metadata: MetadataStore;
  readonly logger: Logger;
  /** The collector may be another replica's: what it must know before it decides is written at once. */
  readonly shared?: boolean;
};

export function createPullRecorder({ metadata, logger, shared = false }: PullRecorderDeps): PullRecorder {
  let pulls = new Map<string, Pull>();
  let touches = new Map<string, Pull>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();

  function note(entries: Map<string, Pull>, pull: Omit<Pull, "at">): void {
    const { repository, digest, byTag } = pull;
    entries.set(`${repository}${byTag ? ":" : "@"}${digest}`, { ...pull, at: Date.now() });
    if (entries.size > MAX_PENDING) flushQuietly();
  }

  async function write(): Promise<void> {
    const [pulled, touched] = [pulls, touches];
    pulls = new Map();
    touches = new Map();
    try {
      if (pulled.size > 0) await metadata.recordPulls([...pulled.values()]);
      pulled.clear();
      if (touched.size > 0) await metadata.touchBlobs([...touched.values()]);
    } catch (error) {
      // Written the next time, unless there are too many by then.
      if (pulls.size + pulled.size <= MAX_PENDING) pulls = new Map([...pulled, ...pulls]);
      if (touches.size + touched.size <= MAX_PENDING) touches = new Map([...touched, ...touches]);
      throw error;
    }
  }

  /** In turn: who flushes before a decision waits for what an earlier flush still writes. */
  function flush(): Promise<void> {
    const mine = writing.then(write);
    writing = mine.catch(() => undefined);
    return mine;
  }

  function flushQuietly(): void {
    flush().catch((err: unknown) => logger.error({ err }, "access times could not be written"));
  }

  return {
    pulled: (repository, digest, { byTag } = { byTag: false }) => note(pulls, { repository, digest, byTag }),
    touched: (repository, digest) => note(touches, { repository, digest }),
    settle: async () => (shared ? flush() : undefined),
    flush,
    start() {
      timer = setInterval(flushQuietly, FLUSH_INTERVAL_MS);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      await flush();
    },
  };
}
