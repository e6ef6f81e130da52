import type { Condition } from "./cached-image.ts";

export type ConditionUpdate = {
  readonly type: string;
  readonly status: Condition["status"];
  /** CamelCase, for programs. */
  readonly reason: string;
  /** A sentence, for people. */
  readonly message: string;
};

/** The API limits messages to 32 KiB; nobody reads more than this. */
const MAX_MESSAGE = 1_024;

/** The conditions with one of them set; `lastTransitionTime` moves only when its status does. */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  update: ConditionUpdate,
  now: Date,
): Condition[] {
  const current = findCondition(conditions, update.type);
  const lastTransitionTime =
    current?.status === update.status ? current.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, "Z");
  const next: Condition = { ...update, message: update.message.slice(0, MAX_MESSAGE), lastTransitionTime };
  return [...(conditions ?? []).filter(({ type }) => type !== update.type), next].sort((a, b) =>
    a.type < b.type ? -1 : 1,
  );
}

export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}
