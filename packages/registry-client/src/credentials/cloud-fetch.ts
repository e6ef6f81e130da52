import type { Environment, Fetch } from "@cache-registry/runtime/cloud-identity/cloud-request";
import { EnvHttpProxyAgent, fetch } from "undici";

/** The services of clouds are reached as upstreams are: through HTTPS_PROXY, except for NO_PROXY. */
export function createCloudFetch(env: Environment): Fetch {
  const httpProxy = env.http_proxy || env.HTTP_PROXY;
  const httpsProxy = env.https_proxy || env.HTTPS_PROXY;
  if (!httpProxy && !httpsProxy) return globalThis.fetch;
  const dispatcher = new EnvHttpProxyAgent({
    ...(httpProxy ? { httpProxy } : {}),
    ...(httpsProxy ? { httpsProxy } : {}),
    noProxy: env.no_proxy || env.NO_PROXY || "",
  });
  // The global fetch is of the same make; only its types are declared elsewhere.
  const proxied = (url: string | URL, init: object): unknown => fetch(url, { ...init, dispatcher });
  return proxied as Fetch;
}
