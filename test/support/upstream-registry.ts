import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRegistry } from "../../hack/cluster/registry.ts";
import { startUpstream, type Upstream } from "../../hack/cluster/upstream.ts";
import { createRegistryApi, type RegistryApi } from "./registry-api.ts";

/** Entry of `upstreams` under which the tests' upstream is known: any name will do, as its endpoint is given. */
export const UPSTREAM_NAME = "upstream.example.com";

export type UpstreamRegistry = {
  /** The counting, throttling and cutting proxy in front of it: what a cache sees. */
  readonly proxy: Upstream;
  /** Straight to the registry, past the proxy: for pushes. */
  readonly api: RegistryApi;
  /** Part of a configuration: this upstream alone. */
  configuration(more?: object): { upstreams: object[]; upstreamPolicy: "listed" };
  /** Requests that the proxy saw whose method and path match. */
  requests(pattern: RegExp): number;
  /** Manifests and blobs that were asked for with GET more than once. */
  fetchedTwice(): string[];
  dispose(): Promise<void>;
};

/** CNCF distribution as the registry of the world, behind the proxy. */
export async function startUpstreamRegistry(): Promise<UpstreamRegistry> {
  const dir = await mkdtemp(join(tmpdir(), "creg-upstream-"));
  const registry = await startRegistry({ dir, log: () => {} });
  const proxy = await startUpstream({ target: registry.url, host: "127.0.0.1" });
  return {
    proxy,
    api: createRegistryApi(registry.url),
    configuration: (more) => ({
      upstreams: [{ registry: UPSTREAM_NAME, endpoints: [proxy.url], paths: ["up"], ...more }],
      upstreamPolicy: "listed",
    }),
    requests(pattern) {
      const matching = Object.entries(proxy.counts()).filter(([key]) => pattern.test(key));
      return matching.reduce((sum, [, { requests }]) => sum + requests, 0);
    },
    fetchedTwice() {
      const content = Object.entries(proxy.counts()).filter(([key]) => /^GET .*\/(blobs|manifests)\//.test(key));
      return content.filter(([, { requests }]) => requests > 1).map(([key]) => key);
    },
    async dispose() {
      await proxy.close();
      await registry.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
