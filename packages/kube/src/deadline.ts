/** A signal of its own for one call. */
export type Deadline = {
  readonly signal: AbortSignal;
  /** The time limit no longer applies; the outer signal still does. */
  lift(): void;
  /** The call is over: nothing of it is held any more. */
  end(): void;
};

/**
 * Aborts after so many milliseconds or with the outer signal. Not AbortSignal.any and AbortSignal.timeout: with an outer
 * signal that lives as long as the process, each call would leave something behind for the length of its time-out.
 */
export function createDeadline(milliseconds: number, outer?: AbortSignal): Deadline {
  const controller = new AbortController();
  const follow = (): void => controller.abort(outer?.reason);
  const timer = setTimeout(() => controller.abort(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
  if (outer?.aborted) follow();
  else outer?.addEventListener("abort", follow, { once: true });
  return {
    signal: controller.signal,
    lift: () => clearTimeout(timer),
    end() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", follow);
    },
  };
}
