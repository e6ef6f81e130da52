import { hostname } from "node:os";
import { API_GROUP } from "@cache-registry/core/labels";
import { type CachedImage, PHASES } from "@cache-registry/kube/cached-image";
import { createClient, type KubeClient } from "@cache-registry/kube/client";
import { createEventRecorder } from "@cache-registry/kube/events";
import { createLeaderElection } from "@cache-registry/kube/leader-election";
import { NAMESPACES } from "@cache-registry/kube/resource";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import { createCertificate } from "@cache-registry/runtime/certificate";
import { createHealth, createManagementServer, type Health } from "@cache-registry/runtime/health";
import { type Service, serverService } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { createMetrics, type Metrics } from "@cache-registry/runtime/metrics";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { createCertificatesDuty } from "./certificates/duty.ts";
import type { ClusterRules } from "./cluster-term.ts";
import type { ControllersConfig } from "./config.ts";
import { ownDeployment } from "./own-deployment.ts";
import { createManagementClient, type ManagementClient } from "./registry/management-client.ts";
import { createManagementToken, type ManagementToken } from "./registry/management-token.ts";
import { authoritiesInFile, authoritiesInSecret } from "./registry/registry-authorities.ts";
import { replicasAt } from "./registry/replica-addresses.ts";
import { createTerm, type Term } from "./term.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export type Composition = { readonly health: Health; readonly services: readonly Service[] };

const USER_AGENT = "cache-registry-controllers";
/**
 * Requests per second: 2,000 images are recorded within a minute of the first start (two writes each), and others have room at
 * the API server. The lease is renewed on a connection of its own and never waits.
 */
const QPS = 150;

/** All wiring of the process. What only the leader does is in term.ts. */
export async function compose(config: ControllersConfig, env: Environment, logger: Logger): Promise<Composition> {
  const metrics = createMetrics();
  const health = createHealth();
  const client = createClient({ env, userAgent: USER_AGENT, qps: QPS });
  const leaseClient = createClient({ env, userAgent: `${USER_AGENT}/lease` });
  const namespace = env.POD_NAMESPACE ?? client.namespace ?? "default";
  const identity = env.POD_NAME ?? `${hostname()}-${process.pid}`;
  const token = tokenOf(config, { client, namespace, deployment: env.DEPLOYMENT_NAME, logger });
  const registry = createManagementClient({
    url: config.registry.url,
    authorities: authoritiesOf(config, client, namespace),
    token: () => token.read(),
    onUnauthorized: () => token.invalidate(),
    replicas: replicasAt(config.registry.replicasHost),
  });
  const controller = `${API_GROUP}/controllers`;
  const events = createEventRecorder({ client, controller, instance: identity, logger });
  let term: Term | undefined;

  const certificates = createCertificatesDuty({
    client,
    namespace,
    deployment: env.DEPLOYMENT_NAME,
    rules: config.certificates,
    events,
    logger,
    metrics,
  });

  async function lead(signal: AbortSignal): Promise<void> {
    // Nothing holds up the certificates: without them no pod of the webhook starts.
    await Promise.all([leadImages(signal), certificates.run(signal)]);
  }

  async function leadImages(signal: AbortSignal): Promise<void> {
    const owner = config.owner ?? (await clusterIdentity(client, logger, signal));
    if (owner === undefined) return;
    const { mode, expiryDelay, revisionsKept, platforms, privateImages } = config;
    const sharedNamespaces = new Set(privateImages.mode === "share" ? privateImages.namespaces : []);
    const names = { endpoint: config.endpoint, registries: new Set(config.registries) };
    const rules = { owner, mode, names, expiryDelay, revisionsKept, platforms, sharedNamespaces };
    const cluster = clusterRules(config, namespace, env.DEPLOYMENT_NAME);
    term = createTerm({ ...rules, cluster, client, registry, events, logger, metrics });
    await term.run(signal).finally(() => {
      term = undefined;
    });
  }

  const { enabled, name } = config.leaderElection;
  const lease = { client: leaseClient, namespace, name, identity, logger, metrics };
  const owner = () => ownDeployment(leaseClient, namespace, env.DEPLOYMENT_NAME);
  const election = createLeaderElection({ ...lease, owner });
  health.addCheck({ name: "lease", check: () => (enabled ? election.problem() : undefined) });
  health.addCheck({ name: "watches", check: () => term?.problem() });
  health.addCheck({ name: "certificates", warnOnly: true, check: () => certificates.warning() });
  health.addCheck({ name: "registry", warnOnly: true, check: () => term?.warning() });
  countImages(metrics, () => term?.images() ?? []);

  const { tls, host, port } = config.management;
  const certificate = tls && (await createCertificate({ ...tls, name: "management", logger, metrics }));
  const server = createManagementServer({ health, metrics, logger, certificate });
  return {
    health,
    services: [
      serverService({ name: "management", server, listen: { host, port } }),
      closing("clients", [client, leaseClient, registry]),
      background("management token", logger, (signal) => token.ensure(signal)),
      background("controllers", logger, (signal) => (enabled ? election.run(lead, signal) : lead(signal))),
    ],
  };
}

function clusterRules(config: ControllersConfig, namespace: string, deployment: string | undefined): ClusterRules {
  const { health, loops, proxy, clusterState, nodeTaint } = config;
  const named = (name: string | undefined, within = namespace) => name && { namespace: within, name };
  const daemonSet = named(proxy.daemonSet, proxy.namespace) || undefined;
  const objects = { daemonSet, configMap: named(clusterState.configMap) || undefined, deployment };
  return { health, loops, ...objects, nodeTaint: nodeTaint.enabled ? nodeTaint.key : undefined };
}

type Token = Pick<ManagementToken, "ensure" | "invalidate"> & { read(): Promise<string | undefined> };
function authoritiesOf({ registry }: ControllersConfig, client: KubeClient, namespace: string) {
  if (registry.caSecret) return authoritiesInSecret({ client, namespace, ...registry.caSecret });
  return registry.caFile === undefined ? undefined : authoritiesInFile(registry.caFile);
}

type TokenDeps = { client: KubeClient; namespace: string; deployment: string | undefined; logger: Logger };

function tokenOf({ registry }: ControllersConfig, deps: TokenDeps): Token {
  if (registry.tokenSecret) return createManagementToken({ ...deps, ...registry.tokenSecret });
  const file = registry.tokenFile === undefined ? undefined : createSecretFile(registry.tokenFile);
  return { read: async () => file?.read(), ensure: async () => {}, invalidate: () => {} };
}

/** The UID of kube-system names the cluster: it lives as long as the cluster does. Undefined at the signal. */
async function clusterIdentity(client: KubeClient, logger: Logger, signal: AbortSignal): Promise<string | undefined> {
  const backoff = createBackoff({ initial: 500, max: 15_000 });
  while (!signal.aborted) {
    try {
      const { metadata } = await client.get(NAMESPACES, { name: "kube-system" }, { signal });
      if (metadata.uid !== undefined) return metadata.uid;
    } catch (error) {
      if (!signal.aborted) logger.warn({ err: error }, "the namespace kube-system cannot be read");
    }
    await sleep(backoff.next(), signal).catch(() => undefined);
  }
  return undefined;
}

/** Work that goes on from start to stop; a failure of it is a defect and ends the process. */
function background(name: string, logger: Logger, work: (signal: AbortSignal) => Promise<void>): Service {
  const ending = new AbortController();
  let running: Promise<void> = Promise.resolve();
  return {
    name,
    start() {
      running = work(ending.signal).catch((error: unknown) => {
        logger.fatal({ err: error, service: name }, "work ended by an error");
        process.exit(1);
      });
    },
    async stop() {
      ending.abort(new Error("shutting down"));
      await running;
    },
  };
}

function closing(name: string, clients: readonly (KubeClient | ManagementClient)[]): Service {
  return {
    name,
    stop: () => {
      for (const client of clients) client.close();
    },
  };
}

function countImages(metrics: Metrics, images: () => Iterable<CachedImage>): void {
  metrics.gauge({
    name: "cached_images",
    help: "CachedImages by phase; only the leader knows.",
    labels: ["phase"],
    collect(gauge) {
      const counts = new Map<string, number>(PHASES.map((phase) => [phase, 0]));
      for (const { status } of images()) {
        const phase = status?.phase ?? "Pending";
        counts.set(phase, (counts.get(phase) ?? 0) + 1);
      }
      for (const [phase, count] of counts) gauge.set({ phase }, count);
    },
  });
}
