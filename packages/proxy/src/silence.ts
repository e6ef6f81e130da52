/** A pull that nobody asks for again within this time was the last one. The kubelet tries every five minutes at the latest. */
const LAST_TRY_MS = 10 * 60_000;
/** A pod with a volume is on another node within this time: Kubernetes waits six minutes before it takes a volume away. */
const PATIENCE_MS = 15 * 60_000;

/** How long the cache has not been able to say whether it holds what it was asked for. */
export type Silence = {
  broken(): void;
  /** Once more. Says whether it may soon be over: then nothing that others say is final. */
  lasts(): boolean;
};

export type SilenceOptions = {
  /** Milliseconds; monotonic. */
  readonly now?: () => number;
};

export function createSilence({ now = () => performance.now() }: SilenceOptions = {}): Silence {
  let since: number | undefined;
  let last = 0;
  return {
    broken() {
      since = undefined;
    },
    lasts() {
      // Between pulls that far apart the cache may have been back.
      if (since === undefined || now() - last > LAST_TRY_MS) since = now();
      last = now();
      return now() - since < PATIENCE_MS;
    },
  };
}
