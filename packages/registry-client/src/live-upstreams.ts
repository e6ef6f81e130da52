import type { Health } from "@cache-registry/runtime/health";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { isSameConfig } from "@cache-registry/runtime/secret";
import { createUpstreamClient, type UpstreamClient } from "./client.ts";
import { observeClientCertificates } from "./client-certificates.ts";
import { proxyFromEnvironment } from "./forward-proxy/forward-proxy.ts";
import { createLiveClient } from "./live-client.ts";
import { createTargetResolver, type TargetResolver } from "./target.ts";
import { createTraffic, type Traffic } from "./traffic/traffic.ts";
import { findUpstream, isListed, type TagRule, tagRuleOf, type Upstream, type UpstreamPolicy } from "./upstream.ts";
import { createUpstreamLabels, type LabelOf } from "./upstream-label.ts";

/** What the configuration says of upstreams, and what may change while the process runs. */
export type UpstreamSettings = {
  readonly upstreams: readonly Upstream[];
  readonly upstreamPolicy: UpstreamPolicy;
  readonly airGapped?: boolean;
  readonly externalNames?: readonly string[];
};

/** Everything that depends on the upstreams' configuration, always by its newest form. */
export type LiveUpstreams = {
  readonly client: UpstreamClient;
  readonly targets: TargetResolver;
  readonly traffic: Traffic;
  /** No upstream is asked now. */
  readonly airGapped: boolean;
  tagRuleOf(registry: string, tag: string): TagRule;
  /** For metrics: the name of a listed upstream, `unlisted` for others, empty for what has none. */
  readonly labelOf: LabelOf;
  /** Requests from now on go by these settings; what is under way is not disturbed, and no limit is forgotten. */
  replace(settings: UpstreamSettings): void;
};

export type LiveUpstreamsOptions = {
  readonly settings: UpstreamSettings;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Gets a check for each listed upstream, which warns of what is wrong with it. */
  readonly health?: Health;
  /** For HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

/** @throws ConfigError when the environment names a proxy that is none */
export function createLiveUpstreams(options: LiveUpstreamsOptions): LiveUpstreams {
  const { settings, metrics, logger, env = process.env } = options;
  const proxyFor = proxyFromEnvironment(env);
  let current = settings;
  let targets = createTargetResolver(settings);
  const isKnown = (registry: string): boolean => isListed(current.upstreams, registry);
  const traffic = createTraffic({ metrics, logger, isListed: isKnown });
  const showChecks = createUpstreamChecks(options.health, traffic);
  showChecks(settings.upstreams);
  observeClientCertificates(metrics, () => current.upstreams);
  const live = createLiveClient<UpstreamSettings>(
    ({ upstreams, upstreamPolicy: policy, airGapped = false }) =>
      createUpstreamClient({ upstreams, policy, airGapped, metrics, traffic, logger, proxyFor }),
    settings,
  );
  return {
    client: live.client,
    targets: { resolve: (query) => targets.resolve(query) },
    traffic,
    get airGapped() {
      return current.airGapped ?? false;
    },
    tagRuleOf(registry, tag) {
      const rule = tagRuleOf(findUpstream(current.upstreams, registry), tag);
      // Nobody will ever confirm it: what is held is what there is, and not stale.
      return current.airGapped ? { ...rule, freeze: true } : rule;
    },
    labelOf: createUpstreamLabels(isKnown),
    replace(next) {
      targets = createTargetResolver(next);
      live.replace(next);
      for (const registry of reachedOtherwise(current.upstreams, next.upstreams)) traffic.forget(registry);
      showChecks(next.upstreams);
      current = next;
    },
  };
}

/** A limit belongs to an identity, an address and an endpoint: with others than before it is not known yet. */
function reachedOtherwise(former: readonly Upstream[], next: readonly Upstream[]): string[] {
  const wayOf = ({ endpoints, credentials, proxy }: Upstream): unknown => ({ endpoints, credentials, proxy });
  return next
    .map(({ registry }) => registry)
    .filter((registry) => !isSameConfig(wayOf(findUpstream(former, registry)), wayOf(findUpstream(next, registry))));
}

/** One check per listed upstream, kept in step with the list. Warnings only: what is held is served without any of them. */
function createUpstreamChecks(health: Health | undefined, traffic: Traffic) {
  let removers: (() => void)[] = [];
  return (upstreams: readonly Upstream[]): void => {
    for (const remove of removers) remove();
    removers = upstreams.flatMap(({ registry }) => {
      const check = () => traffic.troubleOf(findUpstream(upstreams, registry));
      return health ? [health.addCheck({ name: `upstream ${registry}`, warnOnly: true, check })] : [];
    });
  };
}
