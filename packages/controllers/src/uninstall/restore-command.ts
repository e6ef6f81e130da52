import { DEFAULT_ENDPOINT } from "@cache-registry/core/labels";
import type { KubeClient } from "@cache-registry/kube/client";
import { sleep } from "@cache-registry/runtime/backoff";
import { type CommandOptions, EXIT_INTERRUPTED, interruption, say } from "@cache-registry/runtime/command";
import { ConfigError } from "@cache-registry/runtime/config";
import { registryName } from "@cache-registry/runtime/config-types";
import { withCommandClient } from "./command-client.ts";
import { deleteLeftovers, deleteWebhooks, othersAt, webhookConfigurations } from "./leftovers.ts";
import { restoreNodeFiles } from "./node-files.ts";
import { type RestoreLimits, restoreLimitsOf } from "./restore-limits.ts";
import { type RestoreProgress, restorePods } from "./restore-pods.ts";

type Wishes = RestoreLimits & {
  readonly release: string;
  readonly namespace: string;
  /** Of the proxy, where it has one of its own. */
  readonly proxyNamespace: string;
  readonly endpoint: string;
  readonly dryRun: boolean;
  readonly keepRecords: boolean;
  readonly uninstalling: boolean;
};

/** Waiting for more would take a person, or time: the chart's Jobs do not repeat it. */
export const EXIT_REMAINING = 3;
/** Admission reviews that were under way when the webhook went. Milliseconds. */
const IN_FLIGHT = 3_000;
const SHOWN = 20;

/**
 * `cache-registry restore`: makes pods independent of the cache, then removes what `helm uninstall` left. With
 * `--uninstalling`, as the chart's hook runs it, the webhook goes first and the rest is left to Helm. Sets the exit code.
 * @throws ConfigError
 */
export async function runRestore({ env, values = {} }: CommandOptions): Promise<void> {
  const wishes = wishesOf(values);
  const signal = interruption();
  try {
    const userAgent = "cache-registry-restore";
    process.exitCode = await withCommandClient({ env, userAgent }, (client) => restore(client, wishes, signal));
  } catch (error) {
    if (!signal.aborted) throw error;
    say("interrupted: the same command goes on from here");
    process.exitCode = EXIT_INTERRUPTED;
  }
}

async function restore(client: KubeClient, wishes: Wishes, signal: AbortSignal): Promise<number> {
  const { release, dryRun, uninstalling } = wishes;
  const began = performance.now();
  const [other] = await othersAt(client, wishes.endpoint, release);
  if (uninstalling && !dryRun) {
    for (const name of await deleteWebhooks(client, release)) say(`deleted MutatingWebhookConfiguration/${name}`);
    await sleep(IN_FLIGHT, signal);
  } else if (!dryRun) {
    const [webhook] = await webhookConfigurations(client, release);
    if (webhook !== undefined) throw new ConfigError([stillThere(release, webhook)], "the cluster");
  }
  if (other !== undefined) say(`release ${other} rewrites pods to ${wishes.endpoint}, too: they are left to it`);
  else if (!(await restoreAllPods(client, wishes, signal))) return EXIT_REMAINING;
  if (dryRun) return 0;
  // One time for all of it: whoever uninstalls gives Helm a longer one.
  const timeout = Math.max(0, wishes.timeout - (performance.now() - began));
  return removeTheRest(client, { ...wishes, timeout }, signal);
}

/** With its namespace a release goes that Helm could uninstall, and the webhook stays. */
function stillThere(release: string, webhook: string): string {
  const why = `release ${release} is installed, and its webhook would rewrite every pod again: helm uninstall it first`;
  return `${why}, or, where its namespace was deleted, kubectl delete mutatingwebhookconfiguration ${webhook}`;
}

/** @returns whether none names the cache any more */
async function restoreAllPods(client: KubeClient, wishes: Wishes, signal: AbortSignal): Promise<boolean> {
  const { endpoint, registries, timeout, dryRun, uninstalling } = wishes;
  const names = { endpoint, registries };
  const done = await restorePods({ client, names, signal, timeout, dryRun, onProgress: onChange(describe) });
  say(
    `${done.evicted} pods evicted, ${done.patched} given their original images, ${done.remaining.length} name the cache`,
  );
  for (const { pod, why } of done.remaining.slice(0, SHOWN)) say(`  ${pod}: ${why}`);
  if (done.remaining.length > SHOWN) say(`  and ${done.remaining.length - SHOWN} more`);
  if (done.remaining.length > 0) {
    if (!dryRun && uninstalling)
      say("The release stays for them and rewrites no more pods: helm uninstall it again later.");
    else if (!dryRun) say("The proxy stays for them. The same command goes on later.");
    return false;
  }
  return true;
}

async function removeTheRest(client: KubeClient, wishes: Wishes, signal: AbortSignal): Promise<number> {
  const { release, namespace, proxyNamespace, timeout, uninstalling } = wishes;
  const onProgress = onChange(
    (nodes: number, of: number) => `hosts.toml files are as before on ${nodes} of ${of} nodes`,
  );
  const nodes = await restoreNodeFiles({ client, release, namespace: proxyNamespace, signal, timeout, onProgress });
  if (nodes > 0) {
    say(`${nodes} nodes still have hosts.toml files of ours: see the logs of their proxies' container hosts-toml`);
    return EXIT_REMAINING;
  }
  if (uninstalling) return 0;
  const records = wishes.keepRecords ? "keep" : "delete";
  const namespaces = [...new Set([proxyNamespace, namespace])];
  for (const name of await deleteLeftovers(client, { release, namespaces, records })) say(`deleted ${name}`);
  return 0;
}

function describe({ evicted, patched, remaining }: RestoreProgress): string {
  return `${remaining.length} pods name the cache; ${evicted} evicted, ${patched} patched`;
}

/** A line when something changed, not at every look. */
function onChange<Args extends unknown[]>(print: (...args: Args) => string): (...args: Args) => void {
  let last = "";
  return (...args) => {
    const line = print(...args);
    if (line !== last) say(line);
    last = line;
  };
}

/** @throws ConfigError with every problem */
function wishesOf(values: NonNullable<CommandOptions["values"]>): Wishes {
  const problems: string[] = [];
  const text = (name: string): string | undefined => (typeof values[name] === "string" ? values[name] : undefined);
  const endpoint = registryName().safeParse(values.endpoint ?? DEFAULT_ENDPOINT);
  if (!endpoint.success) problems.push(`--endpoint: ${endpoint.error.issues[0]?.message ?? "not allowed"}`);
  const namespace = text("namespace") ?? "cache-registry-system";
  const wishes = {
    release: text("release") ?? "cache-registry",
    namespace,
    proxyNamespace: text("proxy-namespace") ?? namespace,
    endpoint: endpoint.data ?? DEFAULT_ENDPOINT,
    ...restoreLimitsOf(values, problems),
    dryRun: values["dry-run"] === true,
    keepRecords: values["keep-records"] === true,
    uninstalling: values.uninstalling === true,
  };
  if (problems.length > 0) throw new ConfigError(problems, "the command line");
  return wishes;
}
