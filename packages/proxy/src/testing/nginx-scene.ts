import { manifestBytes } from "@cache-registry/registry-client/testing/scripted-registry";
import { type RunningProxy, startProxy } from "./running-proxy.ts";

export const MANIFEST = "/v2/docker.io/library/nginx/manifests/1.27";
export const inCache = manifestBytes("cache");
export const inUpstream = manifestBytes("upstream");

export type NginxScene = {
  readonly proxy: RunningProxy;
  /** Who answered: `cache`, `upstream`, or the status when it was neither. */
  answeredBy(path?: string, headers?: Record<string, string>): Promise<string>;
  /** From now on the cache says so to everything. */
  cacheAnswers(status: number, headers?: Record<string, string>): void;
};

/** For tests: docker.io/library/nginx:1.27, of which the cache and the upstream hold manifests that can be told apart. */
export async function startNginxScene(): Promise<NginxScene> {
  const proxy = await startProxy();
  proxy.cache.addManifest("docker.io/library/nginx", inCache, "1.27");
  proxy.cache.addManifest("library/nginx", inCache, "1.27");
  proxy.upstream.addManifest("library/nginx", inUpstream, "1.27");
  return {
    proxy,
    async answeredBy(path = MANIFEST, headers = {}) {
      const { status, body } = await proxy.ask(path, { headers });
      if (body.equals(inCache)) return "cache";
      if (body.equals(inUpstream)) return "upstream";
      return String(status);
    },
    cacheAnswers(status, headers = {}) {
      proxy.cache.intercept = (_request, response) => {
        response.writeHead(status, headers).end(JSON.stringify({ errors: [] }));
        return true;
      };
    },
  };
}
