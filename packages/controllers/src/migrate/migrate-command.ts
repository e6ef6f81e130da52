import { DEFAULT_ENDPOINT, MANAGED_LABEL } from "@cache-registry/core/labels";
import type { KubeClient } from "@cache-registry/kube/client";
import type { Pod } from "@cache-registry/kube/workloads";
import { type CommandOptions, say } from "@cache-registry/runtime/command";
import { ConfigError } from "@cache-registry/runtime/config";
import { withCommandClient } from "../uninstall/command-client.ts";
import { type RestoreLimits, restoreLimitsOf } from "../uninstall/restore-limits.ts";
import { restorePods } from "../uninstall/restore-pods.ts";
import { type Migration, migrateFrom } from "./migrate.ts";
import { readOldName } from "./old-record.ts";
import { PREDECESSORS } from "./predecessors.ts";

const EXIT_REMAINING = 3;

/**
 * `cache-registry migrate`: takes over records and opt-outs of kube-image-keeper v1 and of the ancestor chart, and with
 * `--evict` the pods that name their proxies. Without `--apply` it only reports. Sets the exit code. @throws ConfigError
 */
export async function runMigrate({ env, values = {} }: CommandOptions): Promise<void> {
  const problems: string[] = [];
  const limits = restoreLimitsOf(values, problems);
  if (problems.length > 0) throw new ConfigError(problems, "the command line");
  const wishes = { apply: values.apply === true, evict: values.evict === true };
  const userAgent = "cache-registry-migrate";
  process.exitCode = await withCommandClient({ env, userAgent }, (client) => migrate(client, { ...wishes, ...limits }));
}

type Wishes = RestoreLimits & { readonly apply: boolean; readonly evict: boolean };

async function migrate(client: KubeClient, { apply, evict, registries, timeout }: Wishes): Promise<number> {
  const webhooks: string[] = [];
  for (const old of PREDECESSORS) {
    const found = await migrateFrom(old, { client, registries, apply, say });
    webhooks.push(...found.webhooks);
    describe(old.name, found, apply);
  }
  if (!evict) return 0;
  if (webhooks.length > 0) {
    const names = webhooks.join(", ");
    throw new ConfigError([`${names} would rewrite every pod again: uninstall it first, then --evict`], "the cluster");
  }
  // Their names below the endpoint are what the user wrote, but for the colon of a port.
  const asWritten = (behind: string) => readOldName(behind, registries);
  const names = { endpoint: DEFAULT_ENDPOINT, registries, asWritten };
  const concerns = ({ metadata: { labels = {} } }: Pod) =>
    labels[MANAGED_LABEL] === undefined && PREDECESSORS.some(({ podLabel: [key, value] }) => labels[key] === value);
  const done = await restorePods({
    client,
    names,
    concerns,
    timeout,
    dryRun: !apply,
    signal: AbortSignal.timeout(2 * timeout),
  });
  say(`${done.evicted} pods evicted, ${done.patched} given their original images, ${done.remaining.length} left`);
  for (const { pod, why } of done.remaining) say(`  ${pod}: ${why}`);
  return done.remaining.length > 0 ? EXIT_REMAINING : 0;
}

function describe(name: string, found: Migration, apply: boolean): void {
  const { records, created, refused, namespaces, templates, pods, webhooks } = found;
  if (records + namespaces + templates.length + pods + webhooks.length === 0) {
    say(`${name}: nothing here`);
    return;
  }
  say(`${name}:`);
  say(`  ${records} CachedImages${apply ? `, ${created} taken over` : ""}${refused > 0 ? `, ${refused} refused` : ""}`);
  if (namespaces > 0) say(`  ${namespaces} namespaces that opted out${apply ? " have our label, too" : ""}`);
  for (const template of templates) say(`  opted out in its template, which is yours to change: ${template}`);
  say(`  ${pods} pods that it rewrote`);
  for (const webhook of webhooks) say(`  still rewrites pods: MutatingWebhookConfiguration ${webhook}`);
  if (!apply) say("  nothing was changed: --apply does it");
}
