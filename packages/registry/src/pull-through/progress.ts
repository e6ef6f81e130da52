/**
 * How far a growing file may be read, and a broadcast when that moves. Any number of readers wait at their own position; an
 * error reaches all of them and is not remembered elsewhere.
 */
export type Progress = {
  /** Bytes from the start that may be shown to clients. Never shrinks. */
  readonly readable: number;
  /** Nothing more will come. */
  readonly ended: boolean;
  advance(readable: number): void;
  finish(): void;
  fail(error: Error): void;
  /** Resolves when bytes beyond `position` may be read, at the end, or when the signal aborts. Rejects on failure. */
  beyond(position: number, signal: AbortSignal): Promise<void>;
};

/** Readers are told of this much at once, or of what came within the delay: many small steps cost more than they carry. */
const BATCH_BYTES = 256 * 1024;
const BATCH_DELAY_MS = 5;

export function createProgress(): Progress {
  let readable = 0;
  let announced = 0;
  let ended = false;
  let failure: Error | undefined;
  let timer: NodeJS.Timeout | undefined;
  const waiting = new Set<() => void>();

  function wake(): void {
    clearTimeout(timer);
    timer = undefined;
    announced = readable;
    const all = [...waiting];
    waiting.clear();
    for (const resolve of all) resolve();
  }
  return {
    get readable() {
      return announced;
    },
    get ended() {
      return ended;
    },
    advance(to) {
      if (to <= readable) return;
      const first = readable === 0;
      readable = to;
      if (first || readable - announced >= BATCH_BYTES) wake();
      else timer ??= setTimeout(wake, BATCH_DELAY_MS);
    },
    finish() {
      ended = true;
      wake();
    },
    fail(error) {
      failure = error;
      wake();
    },
    async beyond(position, signal) {
      while (announced <= position && !ended && !failure && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const done = () => {
            waiting.delete(done);
            signal.removeEventListener("abort", done);
            resolve();
          };
          waiting.add(done);
          signal.addEventListener("abort", done);
        });
      }
      if (failure && announced <= position) throw failure;
    },
  };
}
