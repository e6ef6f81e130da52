import { isDeepStrictEqual } from "node:util";
import type { KubeClient } from "./client.ts";
import type { KubeObject } from "./object.ts";
import { apiVersionOf, type Resource } from "./resource.ts";

export type StatusApply<T extends KubeObject & { status?: unknown }> = {
  readonly client: KubeClient;
  readonly resource: Resource<T>;
  /** The object as last seen; its UID keeps the write from hitting a successor of the same name. */
  readonly current: T;
  /** The whole status of this field manager: what it applied before and leaves out now is removed. */
  readonly status: NonNullable<T["status"]>;
  readonly fieldManager: string;
  readonly signal?: AbortSignal;
};

/**
 * Server-side apply of the status subresource. Nothing is sent when nothing changes.
 * @returns the object after the write, undefined when none was needed
 * @throws ApiError: 404 object gone, 409 another object has its name now
 */
export async function applyStatus<T extends KubeObject & { status?: unknown }>(
  write: StatusApply<T>,
): Promise<T | undefined> {
  const { client, resource, current, fieldManager, signal } = write;
  // undefined is absent, in JSON as in the comparison.
  const status: unknown = JSON.parse(JSON.stringify(write.status));
  if (isDeepStrictEqual(status, current.status ?? {})) return undefined;
  const { name, namespace, uid } = current.metadata;
  const body = {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    metadata: { name, namespace, uid },
    status,
  };
  return client.apply(resource, body as unknown as T, { fieldManager, subresource: "status", signal });
}
