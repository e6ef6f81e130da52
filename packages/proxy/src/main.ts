import { missingForUpstreams } from "@cache-registry/registry-client/upstream-files";
import { ConfigError, loadConfig } from "@cache-registry/runtime/config";
import { createConfigWatch } from "@cache-registry/runtime/config-watch";
import { runProcess } from "@cache-registry/runtime/lifecycle";
import { createLogger } from "@cache-registry/runtime/logger";
import { composeProxy } from "./compose.ts";
import { HOT_KEYS, ProxyConfig } from "./config.ts";
import { removeHostsToml, writeHostsToml } from "./hosts-toml/command.ts";

export type ProxyOptions = {
  /** YAML configuration file. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `write-hosts-toml`, `remove-hosts-toml`: do that and end, instead of serving. */
  readonly values?: Readonly<Record<string, unknown>>;
};

/** What the command does instead of serving. */
const TASKS = [
  { option: "write-hosts-toml", run: writeHostsToml },
  { option: "remove-hosts-toml", run: removeHostsToml },
] as const;

/**
 * `cache-registry proxy`: serves pulls on the node until SIGTERM, then ends the process.
 * @throws ConfigError before anything listens
 */
export async function runProxy({ file, env, values = {} }: ProxyOptions): Promise<void> {
  const load = (): ProxyConfig => {
    const config = loadConfig({ schema: ProxyConfig, file, env });
    const missing = missingForUpstreams(config.upstreams);
    if (missing.length > 0) throw new ConfigError(missing, file);
    return config;
  };
  const task = TASKS.find(({ option }) => values[option] === true);
  if (task) {
    // The credentials of upstreams need not be there for this.
    const written = loadConfig({ schema: ProxyConfig, file, env });
    process.exitCode = await task.run(written, createLogger({ component: "proxy", ...written.log }));
    return;
  }
  const config = load();
  const logger = createLogger({ component: "proxy", ...config.log });
  const { health, metrics, services, reconfigure } = await composeProxy(config, logger);
  const watched = { config, load, hot: HOT_KEYS, apply: reconfigure, health, metrics, logger };
  const watch = file === undefined ? [] : [createConfigWatch({ file, ...watched })];
  logger.info({ registry: config.registry.url, hosts: config.listen.hosts }, "proxy configured");
  await runProcess({ logger, health, services: [...services, ...watch], ...config.shutdown });
}
