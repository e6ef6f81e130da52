/**
 * The contract of a controller's work.
 *
 * A reconciler is given a key and nothing else. It reads the world as it is now, makes one step towards the world as it
 * should be, and says when it wants to look again. It may be called at any time, for any key, any number of times, and for
 * keys whose object is gone; it is never called for one key twice at once. What event led to the call is unknown to it.
 * To throw is to be called again after a growing delay.
 */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<Result>;

/** `requeueAfter`: milliseconds until the next look; left out: at the next change. */
export type Result = { readonly requeueAfter?: number };

export const DONE: Result = {};
