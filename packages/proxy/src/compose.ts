import { createLiveUpstreams, type UpstreamSettings } from "@cache-registry/registry-client/live-upstreams";
import { createCertificate } from "@cache-registry/runtime/certificate";
import { createHealth, createManagementServer, type Health } from "@cache-registry/runtime/health";
import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { createMetrics, type Metrics } from "@cache-registry/runtime/metrics";
import { listen } from "@cache-registry/runtime/server";
import { createApp } from "./app.ts";
import { createBlobSources } from "./blob-sources.ts";
import { createCacheClient } from "./cache-client.ts";
import { createCachedAnswers } from "./cached-answer.ts";
import { createCircuitBreaker } from "./circuit-breaker.ts";
import type { ProxyConfig } from "./config.ts";
import { createContinuation } from "./continuation.ts";
import { createFailover } from "./failover.ts";
import { hostsTomlOf, readProbeResult } from "./hosts-toml/command.ts";
import { createHostsTomlStatus } from "./hosts-toml/hosts-toml-status.ts";
import { createListeners, type Listeners } from "./listeners.ts";
import { processesListening } from "./listening-processes.ts";
import { createProxyMetrics } from "./metrics.ts";
import { createUpstreamAnswers } from "./upstream-answer.ts";

/** After a failed connection to the cache, how long it is not tried again. */
const CIRCUIT_WINDOW_MS = 1000;

export type Proxy = {
  readonly health: Health;
  readonly metrics: Metrics;
  readonly listeners: Listeners;
  /** All of them, the listeners last. */
  readonly services: readonly Service[];
  /** Goes on with another configuration, as far as that needs no restart: see HOT_KEYS. */
  readonly reconfigure: (config: ProxyConfig) => void;
};

/** Names under which clients reach us, whatever we listen on; a namespace that says so says nothing. */
function ownNames({ hosts, port }: ProxyConfig["listen"]): string[] {
  const names = new Set(["localhost", "127.0.0.1", "::1", ...hosts]);
  return [...names].map((host) => `${host.includes(":") ? `[${host}]` : host}:${port}`);
}

/**
 * The proxy has no policy of its own: it dials what the kubelet would have dialled. Virtual hosts are the registry's:
 * clients reach the proxy by its own names only.
 */
function settingsOf({ upstreams, listen: own }: ProxyConfig): UpstreamSettings {
  return {
    upstreams: upstreams.map((upstream) => ({ ...upstream, hosts: [] })),
    upstreamPolicy: "any",
    externalNames: ownNames(own),
  };
}

/** All wiring. @throws ConfigError when a certificate cannot be read */
export async function composeProxy(config: ProxyConfig, logger: Logger): Promise<Proxy> {
  const metrics = createMetrics();
  const health = createHealth();
  const cache = createCacheClient(config.registry);
  const live = createLiveUpstreams({ settings: settingsOf(config), metrics, logger, health });
  const { client, targets } = live;
  const breaker = createCircuitBreaker({ window: CIRCUIT_WINDOW_MS });
  const proxyMetrics = createProxyMetrics(metrics, breaker);
  const sources = createBlobSources({ cache, client });
  const continuation = createContinuation({ sources, metrics: proxyMetrics, logger });
  const failover = createFailover({
    cached: createCachedAnswers({ cache, breaker, continuation }),
    upstream: createUpstreamAnswers({ client, sources, continuation }),
    breaker,
    metrics: proxyMetrics,
    logger,
  });
  const { enabled, directory } = config.hostsToml;
  const hostsToml = enabled ? hostsTomlOf(config) : undefined;
  const probed = () => readProbeResult(config);
  const mirror = createHostsTomlStatus({ hostsToml, directory, probed, health, metrics, logger });
  const app = { failover, targets, logger, metrics, accessLog: config.log.access, onMirrored: mirror.mirrored };
  const listeners = createListeners({ ...config.listen, createApp: () => createApp(app), logger });
  health.addCheck({ name: "update", check: () => whyNotAlone(config) });
  const management = await managementService(config, { health, metrics, logger });
  return {
    health,
    metrics,
    listeners,
    reconfigure: (next) => live.replace(settingsOf(next)),
    services: [
      management,
      { name: "clients", stop: () => closeAll(cache, client) },
      listeners,
      mirror,
      farewell(management),
    ],
  };
}

type Shared = { readonly health: Health; readonly metrics: Metrics; readonly logger: Logger };

/** Shares its port like the listeners do, for an upgrade without a gap. */
async function managementService({ management }: ProxyConfig, { health, metrics, logger }: Shared): Promise<Service> {
  const { host, port, tls } = management;
  const certificate = tls && (await createCertificate({ ...tls, name: "management", logger, metrics }));
  const server = createManagementServer({ health, metrics, logger, certificate });
  return {
    name: "management",
    start: () => listen(server, { host, port, reusePort: true }),
    async stop() {
      await server.close();
      certificate?.close();
    },
  };
}

/** Stops it first of all: probes then reach the process that takes over. */
function farewell(management: Service): Service {
  return { name: "probes", stop: () => management.stop?.() };
}

/**
 * In an update on the host network two processes share both ports, and a probe of the one may be answered by the other. So
 * both are unready until both serve: management comes first at a start, and goes first at a stop.
 */
async function whyNotAlone({ management, listen: own }: ProxyConfig): Promise<string | undefined> {
  const [probed = 0, serving = 0] = (await processesListening(management.port, own.port)) ?? [];
  return probed > serving ? "a process on these ports does not serve yet" : undefined;
}

async function closeAll(...closing: readonly { close(): Promise<void> }[]): Promise<void> {
  await Promise.all(closing.map((one) => one.close()));
}
