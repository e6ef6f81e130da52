import type { Readable } from "node:stream";
import { ApiError } from "./api-error.ts";
import type { KubeObject } from "./object.ts";

/** https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes */
export type WatchEvent<T extends KubeObject> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

/** Nothing, not even a bookmark, arrived for so long that the connection must be taken for dead. */
export class WatchStalled extends Error {
  override readonly name = "WatchStalled";
  constructor(milliseconds: number) {
    super(`no watch event and no bookmark for ${milliseconds} ms`);
  }
}

/** A line that is no watch event. Skipping it could lose a change, so the reader has to list again. */
export class WatchGarbled extends Error {
  override readonly name = "WatchGarbled";
}

/** Larger than any object that etcd takes (1.5 MiB by default), with room for encoding. */
const MAX_LINE = 32 * 1024 * 1024;

/**
 * The events of one watch response, until the server ends it properly.
 * @throws WatchStalled, WatchGarbled, ApiError (an ERROR event, 410 among them), network errors
 */
export async function* readWatch<T extends KubeObject>(
  response: Readable,
  stallTimeout: number,
): AsyncGenerator<WatchEvent<T>> {
  const alarm = setTimeout(() => response.destroy(new WatchStalled(stallTimeout)), stallTimeout);
  response.setEncoding("utf8");
  let rest = "";
  try {
    for await (const chunk of response) {
      alarm.refresh();
      const lines = `${rest}${String(chunk)}`.split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > MAX_LINE) throw new WatchGarbled("a watch event is too long");
      for (const line of lines) if (line !== "") yield parseEvent<T>(line);
    }
    if (rest !== "") throw new WatchGarbled("the watch ended in the middle of an event");
  } finally {
    clearTimeout(alarm);
    response.destroy();
  }
}

function parseEvent<T extends KubeObject>(line: string): WatchEvent<T> {
  let event: { type?: unknown; object?: T };
  try {
    event = JSON.parse(line);
  } catch (error) {
    throw new WatchGarbled("a watch event is no JSON", { cause: error });
  }
  const { type, object } = event;
  if (type === "ERROR") throw new ApiError(codeOf(object), object);
  if (object?.metadata === undefined) throw new WatchGarbled("a watch event has no object");
  if (type === "ADDED" || type === "MODIFIED" || type === "DELETED") return { type, object };
  if (type === "BOOKMARK") return { type, resourceVersion: object.metadata.resourceVersion ?? "" };
  throw new WatchGarbled("a watch event has an unknown type");
}

function codeOf(status: unknown): number {
  return typeof status === "object" && status !== null && "code" in status && typeof status.code === "number"
    ? status.code
    : 500;
}
