import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createUpstreamClient, type UpstreamClient } from "./client.ts";
import { proxyFromEnvironment } from "./forward-proxy/forward-proxy.ts";
import { createLiveClient } from "./live-client.ts";
import { createTargetResolver, type TargetResolver } from "./target.ts";
import { createTraffic, type Traffic } from "./traffic/traffic.ts";
import { findUpstream, isListed, type TagRule, tagRuleOf, type Upstream, type UpstreamPolicy } from "./upstream.ts";

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
  /** Requests from now on go by these settings; what is under way is not disturbed, and no limit is forgotten. */
  replace(settings: UpstreamSettings): void;
};

export type LiveUpstreamsOptions = {
  readonly settings: UpstreamSettings;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** For HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  readonly env?: Readonly<Record<string, string | undefined>>;
};

/** @throws ConfigError when the environment names a proxy that is none */
export function createLiveUpstreams(options: LiveUpstreamsOptions): LiveUpstreams {
  const { settings, metrics, logger, env = process.env } = options;
  const proxyFor = proxyFromEnvironment(env);
  let current = settings;
  let targets = createTargetResolver(settings);
  const traffic = createTraffic({ metrics, isListed: (registry) => isListed(current.upstreams, registry) });
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
    replace(next) {
      targets = createTargetResolver(next);
      live.replace(next);
      current = next;
    },
  };
}
