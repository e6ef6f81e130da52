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

export function createProgress(): Progress {
  let readable = 0;
  let ended = false;
  let failure: Error | undefined;
  const waiting = new Set<() => void>();

  function wake(): void {
    const all = [...waiting];
    waiting.clear();
    for (const resolve of all) resolve();
  }
  return {
    get readable() {
      return readable;
    },
    get ended() {
      return ended;
    },
    advance(to) {
      if (to <= readable) return;
      readable = to;
      wake();
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
      while (readable <= position && !ended && !failure && !signal.aborted) {
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
      if (failure && readable <= position) throw failure;
    },
  };
}
