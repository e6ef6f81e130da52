import { POLICY_LABEL } from "@cache-registry/core/labels";
import { isConflict, isNotFound } from "@cache-registry/kube/api-error";
import { cachedImageName } from "@cache-registry/kube/cached-image";
import type { KubeClient } from "@cache-registry/kube/client";
import type { KubeObject } from "@cache-registry/kube/object";
import { eachObject } from "@cache-registry/kube/pages";
import {
  CACHED_IMAGES,
  CRON_JOBS,
  DAEMON_SETS,
  DEPLOYMENTS,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  PODS,
  type Resource,
  STATEFUL_SETS,
} from "@cache-registry/kube/resource";
import type { MutatingWebhookConfiguration } from "@cache-registry/kube/workloads";
import { ConfigError } from "@cache-registry/runtime/config";
import { convertRecord } from "./old-record.ts";
import type { OldRecord, Predecessor } from "./predecessors.ts";

export type MigrationDeps = {
  readonly client: KubeClient;
  readonly registries: ReadonlySet<string>;
  /** False: only count. */
  readonly apply: boolean;
  /** One line for a person. */
  readonly say: (line: string) => void;
};

export type Migration = {
  readonly records: number;
  readonly created: number;
  readonly refused: number;
  readonly namespaces: number;
  /** Templates with the old opt-out label, which are their owners' to change. */
  readonly templates: readonly string[];
  readonly pods: number;
  /** Webhook configurations that would rewrite pods again. */
  readonly webhooks: readonly string[];
};

type Templated = KubeObject & {
  spec?: { template?: Labelled; jobTemplate?: { spec?: { template?: Labelled } } };
};
type Labelled = { metadata?: { labels?: Record<string, string> } };

const TEMPLATED = [DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS] as readonly Resource<Templated>[];

/** Takes over from one predecessor what belongs to the cluster; nothing of the predecessor is changed or deleted. */
export async function migrateFrom(old: Predecessor, deps: MigrationDeps): Promise<Migration> {
  const { client } = deps;
  const configurations = await client.list(MUTATING_WEBHOOK_CONFIGURATIONS);
  return {
    ...(await takeRecords(old, deps)),
    namespaces: await labelNamespaces(old, deps),
    templates: await labelledTemplates(old, deps),
    pods: await rewrittenPods(old, client),
    webhooks: configurations.items.filter((one) => isWebhookOf(old, one)).map(({ metadata }) => metadata.name),
  };
}

function isWebhookOf(old: Predecessor, { metadata, webhooks = [] }: MutatingWebhookConfiguration): boolean {
  if (!metadata.name.includes(old.webhook)) return false;
  return (
    old.webhookPath === undefined ||
    webhooks.some(({ clientConfig }) => clientConfig?.service?.path === old.webhookPath)
  );
}

async function takeRecords(
  old: Predecessor,
  { client, registries, apply, say }: MigrationDeps,
): Promise<Pick<Migration, "records" | "created" | "refused">> {
  let [records, created, refused] = [0, 0, 0];
  for await (const record of each(client, old.records)) {
    records += 1;
    const converted = convertRecord(record, registries);
    if ("refused" in converted) {
      refused += 1;
      say(`not taken over: ${converted.refused}`);
      continue;
    }
    if (converted.warning !== undefined) say(`unsure: ${converted.warning}`);
    if (apply && (await create(client, converted.spec))) created += 1;
  }
  return { records, created, refused };
}

/** False when there is one already. @throws ConfigError where nobody has defined the kind */
async function create(
  client: KubeClient,
  spec: { sourceImage: string; retain?: boolean | undefined },
): Promise<boolean> {
  const head = { apiVersion: "cache-registry.enix.io/v1alpha1", kind: "CachedImage" };
  const metadata = { name: cachedImageName(spec.sourceImage) };
  try {
    await client.create(CACHED_IMAGES, { ...head, metadata, spec });
    return true;
  } catch (error) {
    if (isConflict(error)) return false;
    if (isNotFound(error))
      throw new ConfigError(["it has no CachedImages: install cache-registry first"], "the cluster");
    throw error;
  }
}

/** Namespaces that opted out there opt out here. */
async function labelNamespaces(old: Predecessor, { client, apply }: MigrationDeps): Promise<number> {
  if (old.policyLabel === undefined) return 0;
  const { items } = await client.list(NAMESPACES, { labelSelector: `${old.policyLabel}=ignore` });
  const missing = items.filter(({ metadata }) => metadata.labels?.[POLICY_LABEL] === undefined);
  for (const { metadata } of apply ? missing : []) {
    const path = `/metadata/labels/${POLICY_LABEL.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const operations = [{ op: "add", path, value: "ignore" }] as const;
    await client.patch(NAMESPACES, { name: metadata.name }, { operations });
  }
  return missing.length;
}

async function labelledTemplates(old: Predecessor, { client }: MigrationDeps): Promise<string[]> {
  const found: string[] = [];
  if (old.policyLabel === undefined) return found;
  for (const resource of TEMPLATED) {
    for await (const { metadata, spec } of each(client, resource)) {
      const template = spec?.template ?? spec?.jobTemplate?.spec?.template;
      const labels = template?.metadata?.labels ?? {};
      if (labels[old.policyLabel] === "ignore" && labels[POLICY_LABEL] === undefined) {
        found.push(`${resource.kind} ${metadata.namespace}/${metadata.name}`);
      }
    }
  }
  return found;
}

async function rewrittenPods({ podLabel: [key, value] }: Predecessor, client: KubeClient): Promise<number> {
  let count = 0;
  for await (const _pod of each(client, PODS as Resource<KubeObject>, `${key}=${value}`)) count += 1;
  return count;
}

/** Nothing when the cluster does not know the kind. */
async function* each<T extends KubeObject | OldRecord>(
  client: KubeClient,
  resource: Resource<T>,
  labelSelector?: string,
): AsyncGenerator<T> {
  try {
    yield* eachObject(client, resource, labelSelector === undefined ? {} : { labelSelector });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
