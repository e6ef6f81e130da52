import { loadConfig } from "@cache-registry/runtime/config";
import { runProcess } from "@cache-registry/runtime/lifecycle";
import { createLogger } from "@cache-registry/runtime/logger";
import { composeProxy } from "./compose.ts";
import { ProxyConfig } from "./config.ts";

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
  const config = loadConfig({ schema: ProxyConfig, file, env });
  const logger = createLogger({ component: "proxy", level: config.log.level });
  const { health, services } = await composeProxy(config, logger);
  logger.info({ registry: config.registry.url, hosts: config.listen.hosts }, "proxy configured");
  await runProcess({ logger, health, services, ...config.shutdown });
}
