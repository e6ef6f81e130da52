import { loadConfig } from "@cache-registry/runtime/config";
import { createConfigWatch } from "@cache-registry/runtime/config-watch";
import { runProcess } from "@cache-registry/runtime/lifecycle";
import { createLogger } from "@cache-registry/runtime/logger";
import { compose } from "./compose.ts";
import { HOT_KEYS, RegistryConfig } from "./config.ts";
import { assertFilesReadable } from "./config-files.ts";
import { loadPlugins } from "./plugins.ts";

/**
 * Threads for files (libuv has 4): a few that wait for an fsync must not stop the reads of all clients. It counts from the
 * first use of a thread on, which is after this.
 */
const FILE_THREADS = "12";

export type RegistryOptions = {
  /** YAML configuration file; without one the defaults serve on 127.0.0.1:5000 from ./data. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
};

/**
 * `cache-registry registry`: serves until SIGTERM, then ends the process.
 * @throws ConfigError before anything listens
 */
export async function runRegistry({ file, env }: RegistryOptions): Promise<void> {
  process.env.UV_THREADPOOL_SIZE ??= FILE_THREADS;
  const load = (): RegistryConfig => {
    const config = loadConfig({ schema: RegistryConfig, file, env });
    assertFilesReadable(config);
    return config;
  };
  const config = load();
  const logger = createLogger({ component: "registry", ...config.log });
  const plugins = await loadPlugins(config.plugins);
  const { health, metrics, services, reconfigure } = await compose(config, logger, plugins);
  const watched = { config, load, hot: HOT_KEYS, apply: reconfigure, health, metrics, logger };
  const watch = file === undefined ? [] : [createConfigWatch({ file, ...watched })];
  await runProcess({ logger, health, services: [...services, ...watch], ...config.shutdown });
}
