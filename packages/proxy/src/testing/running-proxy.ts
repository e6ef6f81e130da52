import http from "node:http";
import {
  createScriptedRegistry,
  type ScriptedRegistry,
} from "@cache-registry/registry-client/testing/scripted-registry";
import { createLogger } from "@cache-registry/runtime/logger";
import { composeProxy } from "../compose.ts";
import { ProxyConfig } from "../config.ts";

export type Reply = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
  /** Did the body end as announced? */
  readonly complete: boolean;
};

export type RunningProxy = {
  readonly url: string;
  readonly cache: ScriptedRegistry;
  /** Stands in for docker.io. */
  readonly upstream: ScriptedRegistry;
  ask(path: string, options?: AskOptions): Promise<Reply>;
  metrics(): Promise<string>;
  /** Everything that it logged, at the lowest level. */
  log(): string;
  close(): Promise<void>;
};

type AskOptions = { readonly method?: string; readonly headers?: Record<string, string> };

/** One request as it is: nothing added, normalised, followed or decoded. */
function ask(origin: string, path: string, options: AskOptions = {}): Promise<Reply> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, path, ...options, agent: false }, (response) => {
      const { statusCode: status = 0, headers } = response;
      const chunks: Buffer[] = [];
      const finish = (complete: boolean): void => resolve({ status, headers, body: Buffer.concat(chunks), complete });
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => finish(response.complete));
      response.on("error", () => finish(false));
    });
    request.on("error", reject);
    request.end();
  });
}

/** For tests: a proxy between a scripted cache and a scripted docker.io. */
export async function startProxy(config: object = {}): Promise<RunningProxy> {
  const cache = await createScriptedRegistry();
  const upstream = await createScriptedRegistry();
  const parsed = ProxyConfig.parse({
    listen: { hosts: ["127.0.0.1"], port: 0 },
    management: { port: 0 },
    registry: { url: cache.url },
    upstreams: [
      { registry: "docker.io", endpoints: [upstream.url], timeouts: { connect: "1s", headers: "2s", idle: "1s" } },
    ],
    ...config,
  });
  const lines: string[] = [];
  const logger = createLogger({
    component: "proxy",
    level: "trace",
    destination: { write: (line) => void lines.push(line) },
  });
  const { listeners, services, metrics } = await composeProxy(parsed, logger);
  for (const service of services) await service.start?.(AbortSignal.timeout(10_000));
  const url = listeners.bound[0]?.url ?? "";
  return {
    url,
    cache,
    upstream,
    ask: (path, options) => ask(url, path, options),
    metrics: () => metrics.text(),
    log: () => lines.join(""),
    async close() {
      for (const service of services.toReversed()) await service.stop?.();
      await Promise.all([cache.stop(), upstream.stop()]);
    },
  };
}
