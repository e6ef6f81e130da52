import { buildConnector, type Dispatcher, Pool } from "undici";
import { hostOf, isPublicName } from "./address-policy.ts";
import { AddressDeniedError, createConnector, type Resolve } from "./connector.ts";
import { dialledDirectly, type ForwardProxy, type ProxyFor, proxyOf } from "./forward-proxy/forward-proxy.ts";
import type { Upstream, UpstreamPolicy } from "./upstream.ts";
import { findUpstream, isListed } from "./upstream.ts";

export type TransportRequest = {
  /** On whose behalf: its timeouts, certificates and trust. */
  readonly upstream: Upstream;
  readonly url: URL;
  readonly method: "GET" | "HEAD" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  /** Of a POST to a token service. */
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type TransportResponse = Dispatcher.ResponseData;

/** Sends one request to one URL: no authentication, no redirects, no retry. */
export type Transport = {
  /** @throws what undici throws; see failure.ts */
  send(request: TransportRequest): Promise<TransportResponse>;
  /** Cuts what is still running. */
  close(): Promise<void>;
};

/** Open pools to hosts that nobody listed: the least recently used goes. */
const MAX_UNLISTED_POOLS = 64;
/** Besides the blobs that `concurrency` allows: manifests, checks and tokens never wait for them. */
const EXTRA_CONNECTIONS = 16;
const KEEP_ALIVE_MS = 30_000;
const MAX_HEADER_BYTES = 64 * 1024;

/**
 * What a URL is to an upstream. `endpoint`: one of its endpoints. `same-host`: another port on the host of one, such as its
 * token service. `listed`: an endpoint of another upstream, or a token service that the user listed. `foreign`: anything else, such as the storage that it redirects to.
 */
type Relation = "endpoint" | "same-host" | "listed" | "foreign";

type Way = {
  readonly pool: Pool;
  /** The proxy that is asked in the upstream's place: for http. For https it only carries a tunnel. */
  readonly asked: ForwardProxy | undefined;
};

export type TransportOptions = {
  readonly upstreams: readonly Upstream[];
  readonly policy: UpstreamPolicy;
  /** The way where an upstream says nothing of its own. */
  readonly proxyFor?: ProxyFor | undefined;
  /** For tests: as `dns.lookup`. */
  readonly resolve?: Resolve | undefined;
};

export function createTransport(options: TransportOptions): Transport {
  const { upstreams, policy, proxyFor = dialledDirectly, resolve } = options;
  const listedHosts = new Set(
    upstreams.flatMap(({ registry }) => findUpstream(upstreams, registry).endpoints.map((url) => new URL(url).host)),
  );
  const pools = new Map<string, Way & { readonly bounded: boolean }>();

  function relationOf(upstream: Upstream, url: URL): Relation {
    const endpoints = upstream.endpoints.map((endpoint) => new URL(endpoint));
    if (endpoints.some(({ origin }) => origin === url.origin)) return "endpoint";
    if (endpoints.some((endpoint) => hostOf(endpoint) === hostOf(url))) return "same-host";
    return listedHosts.has(url.host) || upstream.tokenHosts.includes(url.host) ? "listed" : "foreign";
  }

  /**
   * Whoever listed an upstream trusts its hosts with any address; to a host that a request or an answer named, the policy
   * applies. A registry that only a request named leads to nothing private, not even to what is listed for others.
   */
  function isGuarded(upstream: Upstream, relation: Relation): boolean {
    if (policy === "any") return false;
    return relation === "foreign" || !isListed(upstreams, upstream.registry);
  }

  function createWay(upstream: Upstream, url: URL, relation: Relation): Way {
    const { tls, timeouts, concurrency } = upstream;
    const own = relation === "endpoint" || relation === "same-host";
    const guarded = isGuarded(upstream, relation);
    const proxy = proxyOf(upstream.proxy?.reveal(), url, proxyFor);
    const asked = proxy && url.protocol === "http:" ? proxy : undefined;
    if (asked && guarded && !isPublicName(hostOf(url))) throw new AddressDeniedError(hostOf(url));
    const connect = asked
      ? buildConnector({ timeout: timeouts.connect, allowH2: false })
      : createConnector({
          timeout: timeouts.connect,
          guarded,
          tls: tls && {
            ...tls,
            insecureSkipVerify: own && tls.insecureSkipVerify,
            presentCertificate: relation === "endpoint",
          },
          resolve,
          proxy,
        });
    const pool = new Pool(asked?.url.origin ?? url.origin, {
      connections: concurrency + EXTRA_CONNECTIONS,
      connect,
      headersTimeout: timeouts.headers,
      bodyTimeout: timeouts.idle,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
    return { pool, asked };
  }

  function dropOldest(): void {
    const bounded = [...pools].filter(([, entry]) => entry.bounded);
    for (const [key, { pool }] of bounded.slice(0, Math.max(0, bounded.length - MAX_UNLISTED_POOLS))) {
      pools.delete(key);
      // Requests in flight finish; the answer of a pool that nobody uses any more interests nobody.
      pool.close().catch(() => undefined);
    }
  }

  function wayTo(upstream: Upstream, url: URL): Way {
    const relation = relationOf(upstream, url);
    const key = `${upstream.registry} ${relation} ${url.origin}`;
    const known = pools.get(key);
    const entry = known ?? {
      ...createWay(upstream, url, relation),
      bounded: relation === "foreign" || !isListed(upstreams, upstream.registry),
    };
    // Re-inserted, so that the map's order is the order of last use.
    pools.delete(key);
    pools.set(key, entry);
    if (!known) dropOldest();
    return entry;
  }

  return {
    async send({ upstream, url, method, headers, body = null, signal }) {
      const { pool, asked } = wayTo(upstream, url);
      const request = { method, body, ...(signal ? { signal } : {}) };
      if (!asked) return pool.request({ ...request, path: `${url.pathname}${url.search}`, headers });
      // RFC 9112 §3.2.2: a proxy is told the whole URL.
      return pool.request({ ...request, path: url.href, headers: { ...headers, ...asked.headers, host: url.host } });
    },
    async close() {
      const open = [...pools.values()];
      pools.clear();
      await Promise.all(open.map(({ pool }) => pool.destroy()));
    },
  };
}
