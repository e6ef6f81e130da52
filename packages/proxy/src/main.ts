import { missingForUpstreams } from "@cache-registry/registry-client/upstream-files";
import { ConfigError, loadConfig } from "@cache-registry/runtime/config";
import { createConfigWatch } from "@cache-registry/runtime/config-watch";
import { runProcess } from "@cache-registry/runtime/lifecycle";
import { createLogger } from "@cache-registry/runtime/logger";
import { composeProxy } from "./compose.ts";
import { HOT_KEYS, ProxyConfig } from "./config.ts";

export type ProxyOptions = {
  /** YAML configuration file. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
};

/**
 * `cache-registry proxy`: serves pulls on the node until SIGTERM, then ends the process.
 * @throws ConfigError before anything listens
 */
export async function runProxy({ file, env }: ProxyOptions): Promise<void> {
  const load = (): ProxyConfig => {
    const config = loadConfig({ schema: ProxyConfig, file, env });
    const missing = missingForUpstreams(config.upstreams);
    if (missing.length > 0) throw new ConfigError(missing, file);
    return config;
  };
  const config = load();
  const logger = createLogger({ component: "proxy", ...config.log });
  const { health, metrics, services, reconfigure } = await composeProxy(config, logger);
  const watched = { config, load, hot: HOT_KEYS, apply: reconfigure, health, metrics, logger };
  const watch = file === undefined ? [] : [createConfigWatch({ file, ...watched })];
  logger.info({ registry: config.registry.url, hosts: config.listen.hosts }, "proxy configured");
  await runProcess({ logger, health, services: [...services, ...watch], ...config.shutdown });
}
