import { z } from "zod";

/*
 * What the controllers know of the cluster and the webhook must know at admission: a JSON document in a ConfigMap, which
 * the webhook's pods mount. Written by one process only, on a transition: its age says nothing (ADR 0022).
 */

/** The ConfigMap's key, and so the name of the mounted file. */
export const CLUSTER_STATE_KEY = "state.json";
/** Raised only when an older reader would misunderstand the document; fields may be added without. */
export const CLUSTER_STATE_VERSION = 1;
/** What all values of a ConfigMap may have together (Kubernetes core/v1, MaxSecretSize). */
export const MAX_CLUSTER_STATE_BYTES = 1024 * 1024;
/** With the longest names that Kubernetes allows, so many stay below the size. */
export const MAX_LOOPS = 1_000;
const MAX_REASONS = 10;
const MAX_REASON_LENGTH = 500;

const Time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

/**
 * An owner that recreated its pods again and again because their images were rewritten: left alone until then. A pod
 * without a controller is its own owner (`v1`, `Pod`, its name).
 */
const LoopingOwner = z.object({
  namespace: z.string().min(1),
  /** As in the owner reference, `apps/v1`; readers compare the group only. */
  apiVersion: z.string().min(1),
  kind: z.string().min(1),
  name: z.string().min(1),
  until: Time,
});
export type LoopingOwner = z.output<typeof LoopingOwner>;

const ClusterState = z.object({
  version: z.literal(CLUSTER_STATE_VERSION),
  writtenAt: Time,
  /** May images be rewritten? Are the registry, and the proxies on nearly all nodes, ready? */
  healthy: z.boolean(),
  /** Why not healthy, for people: a sentence each. */
  reasons: z.array(z.string()).default([]),
  loops: z.array(LoopingOwner).default([]),
});
export type ClusterState = z.output<typeof ClusterState>;

/** Unknown fields are dropped. `problem`: one line that says what is wrong, without the document's text. */
export function parseClusterState(text: string): { readonly state: ClusterState } | { readonly problem: string } {
  if (Buffer.byteLength(text) > MAX_CLUSTER_STATE_BYTES) {
    return { problem: `larger than ${MAX_CLUSTER_STATE_BYTES} bytes` };
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { problem: text.trim() === "" ? "empty" : "not JSON" };
  }
  const parsed = ClusterState.safeParse(document);
  if (parsed.success) return { state: parsed.data };
  const [issue] = parsed.error.issues;
  return { problem: `${issue?.path.join(".") || "document"}: ${issue?.message}` };
}

/**
 * The document's text, always below `MAX_CLUSTER_STATE_BYTES`: of more than `MAX_LOOPS` owners those that end first are
 * left out, of many reasons the last. The order of the owners does not depend on that of the input.
 */
export function printClusterState(state: ClusterState): string {
  const { version, writtenAt, healthy } = state;
  const reasons = state.reasons.slice(0, MAX_REASONS).map((reason) => reason.slice(0, MAX_REASON_LENGTH));
  const loops = state.loops
    .toSorted((a, b) => b.until.getTime() - a.until.getTime())
    .slice(0, MAX_LOOPS)
    .map((owner) => ({ ...owner, until: owner.until.toISOString() }))
    .toSorted((a, b) => compareText(loopingOwnerKey(a), loopingOwnerKey(b)));
  return `${JSON.stringify({ version, writtenAt: writtenAt.toISOString(), healthy, reasons, loops })}\n`;
}

/** Do both say the same, whenever they were written? Then there is nothing to write. */
export function isSameClusterState(one: ClusterState, other: ClusterState): boolean {
  const writtenAt = new Date(0);
  return printClusterState({ ...one, writtenAt }) === printClusterState({ ...other, writtenAt });
}

/** An owner as one text, for a map: the same for every version of its API group. */
export function loopingOwnerKey({ namespace, apiVersion, kind, name }: Omit<LoopingOwner, "until">): string {
  const slash = apiVersion.indexOf("/");
  return [namespace, slash < 0 ? "" : apiVersion.slice(0, slash), kind, name].join("/");
}

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
