import { BlockList, isIP, isIPv4 } from "node:net";
import { ConfigError } from "@cache-registry/runtime/config";
import { hostOf } from "../address-policy.ts";
import { basicHeader } from "./basic-header.ts";
import { parseNoProxy } from "./no-proxy.ts";

/** An HTTP proxy between us and the upstreams (RFC 9110 §3.7, §9.3.6). */
export type ForwardProxy = {
  /** `http://` or `https://`, without credentials. */
  readonly url: URL;
  /** `proxy-authorization`, where there are credentials: a secret. */
  readonly headers: Readonly<Record<string, string>>;
};

/** The way to a URL; undefined: dialled directly. */
export type ProxyFor = (url: URL) => ForwardProxy | undefined;

export const dialledDirectly: ProxyFor = () => undefined;

export const DIRECT = "direct";
export const PROXY_HINT = "direct, or the http:// or https:// URL of a proxy";

/** `http://user:password@proxy:3128`; without a scheme it is http. Undefined when it is none. */
export function parseForwardProxy(text: string): ForwardProxy | undefined {
  const written = text.includes("://") ? text : `http://${text}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.search || url.hash) return undefined;
  const headers: Record<string, string> =
    url.username === "" ? {} : { "proxy-authorization": basicHeader(url.username, url.password) };
  url.username = "";
  url.password = "";
  return { url, headers };
}

/** What an upstream says of its own (its key `proxy`) goes before the way for all. */
export function proxyOf(own: string | undefined, url: URL, proxyFor: ProxyFor): ForwardProxy | undefined {
  if (own === undefined) return proxyFor(url);
  return own === DIRECT ? undefined : parseForwardProxy(own);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return host === "localhost";
  return loopback.check(host, isIPv4(host) ? "ipv4" : "ipv6");
}

function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" ? 443 : 80;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in upper or lower case: by the scheme of the URL that is asked for. Loopback is
 * always dialled directly.
 * @throws ConfigError naming the variable, without its value
 */
export function proxyFromEnvironment(env: Environment): ProxyFor {
  const read = (name: string): string | undefined => env[name] || env[name.toLowerCase()] || undefined;
  function proxyIn(name: string): ForwardProxy | undefined {
    const text = read(name);
    if (text === undefined) return undefined;
    const proxy = parseForwardProxy(text);
    if (!proxy) throw new ConfigError([`${name}: expected the http:// or https:// URL of a proxy`]);
    return proxy;
  }
  const proxies = new Map([
    ["http:", proxyIn("HTTP_PROXY")],
    ["https:", proxyIn("HTTPS_PROXY")],
  ]);
  const isExcluded = parseNoProxy(read("NO_PROXY"));
  return (url) => {
    const host = hostOf(url);
    return isLoopback(host) || isExcluded(host, portOf(url)) ? undefined : proxies.get(url.protocol);
  };
}
