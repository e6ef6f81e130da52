import { loadConfig } from "@cache-registry/runtime/config";
import { runProcess } from "@cache-registry/runtime/lifecycle";
import { createLogger } from "@cache-registry/runtime/logger";
import { composeWebhook } from "./compose.ts";
import { WebhookConfig } from "./config.ts";

export type WebhookOptions = {
  /** YAML configuration file. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
};

/**
 * `cache-registry webhook`: serves admission reviews until SIGTERM, then ends the process.
 * @throws ConfigError before anything listens
 */
export async function runWebhook({ file, env }: WebhookOptions): Promise<void> {
  const config = loadConfig({ schema: WebhookConfig, file, env });
  const logger = createLogger({ component: "webhook", ...config.log });
  const { health, services } = await composeWebhook(config, logger);
  const { mode, endpoint, dryRun } = config;
  logger.info({ mode, endpoint, dryRun }, "webhook configured");
  await runProcess({ logger, health, services, ...config.shutdown });
}
