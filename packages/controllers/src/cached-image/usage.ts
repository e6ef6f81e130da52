/** Who names images: a pod, or an owner that would create pods. */
export type Consumer = {
  /** `Pod/default/web-0`: unique. */
  readonly key: string;
  /** Normalised references. */
  readonly images: readonly string[];
  /** Set on ReplicaSets of a Deployment: only the newest revisions count, and those that run. */
  readonly revision?: Revision;
  /** Of an owner: changes with its template and its number of replicas. */
  readonly generation?: number | undefined;
};

export type Revision = {
  /** UID of the Deployment. */
  readonly group: string;
  readonly number: number;
  /** Wants pods now, so it counts whatever its age. */
  readonly active: boolean;
};

export type Users = {
  /** `namespace/name`, in order. */
  readonly pods: readonly string[];
  /** `ReplicaSet default/web-5d8c`, in order. */
  readonly owners: readonly string[];
};

/** Index from image to its users. Fed by watches, or by one complete look at the API server. */
export interface UsageIndex {
  /** Returns the references whose users may have changed. */
  put(consumer: Consumer): ReadonlySet<string>;
  remove(key: string): ReadonlySet<string>;
  usersOf(reference: string): Users;
  /** The same text as the one held already, so that thousands of pods share one copy. */
  intern(reference: string): string;
}

const POD = "Pod/";
const NOBODY: Users = { pods: [], owners: [] };

export function createUsageIndex({ revisionsKept }: { readonly revisionsKept: number }): UsageIndex {
  const consumers = new Map<string, Consumer>();
  const byReference = new Map<string, { readonly reference: string; readonly keys: Set<string> }>();
  const byGroup = new Map<string, Set<string>>();

  function drop(consumer: Consumer, affected: Set<string>): void {
    consumers.delete(consumer.key);
    for (const reference of consumer.images) {
      affected.add(reference);
      const users = byReference.get(reference);
      users?.keys.delete(consumer.key);
      if (users?.keys.size === 0) byReference.delete(reference);
    }
    if (!consumer.revision) return;
    const group = byGroup.get(consumer.revision.group);
    group?.delete(consumer.key);
    if (group?.size === 0) byGroup.delete(consumer.revision.group);
    affectGroup(consumer.revision.group, affected);
  }

  /** A ReplicaSet that comes or goes changes which of its siblings are among the newest. */
  function affectGroup(group: string, affected: Set<string>): void {
    for (const key of byGroup.get(group) ?? []) {
      for (const reference of consumers.get(key)?.images ?? []) affected.add(reference);
    }
  }

  function counts({ key, revision }: Consumer): boolean {
    if (!revision || revision.active) return true;
    const siblings = [...(byGroup.get(revision.group) ?? [])].map((sibling) => consumers.get(sibling));
    const newer = siblings.filter((sibling) => {
      const other = sibling?.revision?.number ?? -1;
      return other > revision.number || (other === revision.number && sibling !== undefined && sibling.key > key);
    });
    return newer.length < revisionsKept;
  }

  return {
    put(consumer) {
      const affected = new Set<string>();
      const previous = consumers.get(consumer.key);
      if (previous) drop(previous, affected);
      consumers.set(consumer.key, consumer);
      for (const reference of consumer.images) {
        affected.add(reference);
        const users = byReference.get(reference) ?? { reference, keys: new Set() };
        byReference.set(reference, users);
        users.keys.add(consumer.key);
      }
      if (consumer.revision) {
        const group = byGroup.get(consumer.revision.group) ?? new Set();
        byGroup.set(consumer.revision.group, group.add(consumer.key));
        affectGroup(consumer.revision.group, affected);
      }
      return affected;
    },
    remove(key) {
      const affected = new Set<string>();
      const previous = consumers.get(key);
      if (previous) drop(previous, affected);
      return affected;
    },
    usersOf(reference) {
      const keys = byReference.get(reference)?.keys;
      if (!keys) return NOBODY;
      const pods: string[] = [];
      const owners: string[] = [];
      for (const key of keys) {
        const consumer = consumers.get(key);
        if (key.startsWith(POD)) pods.push(key.slice(POD.length));
        else if (consumer && counts(consumer)) owners.push(key.replace("/", " "));
      }
      return { pods: pods.sort(), owners: owners.sort() };
    },
    intern: (reference) => byReference.get(reference)?.reference ?? reference,
  };
}
