import { loadConfig } from "@cache-registry/runtime/config";
import { runProcess } from "@cache-registry/runtime/lifecycle";
import { createLogger } from "@cache-registry/runtime/logger";
import { compose, type Environment } from "./compose.ts";
import { ControllersConfig } from "./config.ts";

/**
 * `cache-registry controllers`: reads the configuration, then works until SIGTERM.
 * @throws ConfigError before anything is done
 */
export async function runControllers(options: {
  readonly file?: string | undefined;
  readonly env: Environment;
}): Promise<void> {
  const config = loadConfig({ schema: ControllersConfig, file: options.file, env: options.env });
  const logger = createLogger({ component: "controllers", ...config.log });
  const { health, services } = await compose(config, options.env, logger);
  await runProcess({ logger, health, services, ...config.shutdown });
}
