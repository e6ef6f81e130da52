import { randomUUID } from "node:crypto";
import type { Logger } from "@cache-registry/runtime/logger";
import type { KubeClient } from "./client.ts";
import type { KubeObject } from "./object.ts";
import { apiVersionOf, EVENTS, type Resource } from "./resource.ts";

export type EventNote = {
  readonly type: "Normal" | "Warning";
  /** CamelCase, what happened. */
  readonly reason: string;
  /** CamelCase, what was being done. */
  readonly action: string;
  readonly note: string;
};

export interface EventRecorder {
  /** Call it on transitions only. Never rejects: an Event that cannot be written is not worth a failure. */
  record(resource: Resource<KubeObject>, object: KubeObject, note: EventNote): Promise<void>;
}

const MAX_NOTE = 1_024;

/** https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ */
export function createEventRecorder(options: {
  client: KubeClient;
  /** Such as `cache-registry.enix.io/controllers`. */
  controller: string;
  instance: string;
  logger: Logger;
}): EventRecorder {
  const { client, controller, instance, logger } = options;
  return {
    async record(resource, object, { type, reason, action, note }) {
      const { name, namespace, uid } = object.metadata;
      const event = {
        apiVersion: "events.k8s.io/v1",
        kind: "Event",
        // Events about cluster-scoped objects live in `default`.
        metadata: { name: `${name.slice(0, 200)}.${randomUUID().slice(0, 8)}`, namespace: namespace ?? "default" },
        eventTime: new Date().toISOString().replace("Z", "000Z"),
        reportingController: controller,
        reportingInstance: instance,
        regarding: { apiVersion: apiVersionOf(resource), kind: resource.kind, name, namespace, uid },
        type,
        reason,
        action,
        note: note.slice(0, MAX_NOTE),
      };
      try {
        await client.create(EVENTS, event, { timeout: 10_000 });
      } catch (error) {
        logger.debug({ err: error, reason }, "event not written");
      }
    },
  };
}
