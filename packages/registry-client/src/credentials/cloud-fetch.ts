import type { Fetch } from "@cache-registry/runtime/cloud-identity/cloud-request";
import { fetch, ProxyAgent } from "undici";
import type { ForwardProxy, ProxyFor } from "../forward-proxy/forward-proxy.ts";

/** The services of a cloud are reached the way that its registry is reached. */
export function createCloudFetch(proxyFor: ProxyFor): Fetch {
  const agents = new Map<string, ProxyAgent>();

  function agentFor({ url, headers }: ForwardProxy): ProxyAgent {
    const token = headers["proxy-authorization"];
    const agent = agents.get(url.href) ?? new ProxyAgent({ uri: url.href, ...(token === undefined ? {} : { token }) });
    agents.set(url.href, agent);
    return agent;
  }

  // The global fetch is of the same make; only its types are declared elsewhere.
  const proxied = (url: string | URL, init: object): unknown => {
    const proxy = proxyFor(new URL(url));
    return proxy ? fetch(url, { ...init, dispatcher: agentFor(proxy) }) : globalThis.fetch(url, init);
  };
  return proxied as Fetch;
}
