import { type Certificate, createCertificate } from "@cache-registry/runtime/certificate";
import { createHealth, createManagementServer, type Health } from "@cache-registry/runtime/health";
import { type Service, serverService } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import { createMetrics, type Metrics } from "@cache-registry/runtime/metrics";
import { createApp } from "./app.ts";
import { createClusterStateFile } from "./cluster-state/cluster-state-file.ts";
import { UNGATED } from "./cluster-state/cluster-view.ts";
import type { WebhookConfig } from "./config.ts";
import { createEligibilityRules } from "./eligibility/rules.ts";
import { createReviewer } from "./review-pod.ts";

export type Webhook = { readonly health: Health; readonly services: readonly Service[] };

type Tls = WebhookConfig["listen"]["tls"];

/** All wiring. @throws ConfigError when a certificate cannot be read */
export async function composeWebhook(config: WebhookConfig, logger: Logger): Promise<Webhook> {
  const metrics = createMetrics();
  const health = createHealth();
  const certificate = await openCertificate("webhook", config.listen.tls, { logger, metrics });
  const managementCertificate = await openCertificate("management", config.management.tls, { logger, metrics });
  health.addCheck({ name: "certificate", warnOnly: true, check: () => whyExpired(certificate, new Date()) });

  const { clusterStateFile: file } = config;
  const clusterState = file === undefined ? undefined : createClusterStateFile({ file, logger, metrics, health });
  const review = createReviewer({
    cluster: () => clusterState?.view() ?? UNGATED,
    mode: config.mode,
    rules: createEligibilityRules(config),
    logReviews: config.log.access,
    logger,
    metrics,
  });
  const app = createApp({ review, logger, metrics, certificate });
  const management = createManagementServer({ health, metrics, logger, certificate: managementCertificate });
  return {
    health,
    services: [
      ...(clusterState ? [clusterState.service] : []),
      { name: "certificates", stop: () => closeAll([certificate, managementCertificate]) },
      serverService({ name: "management", server: management, listen: config.management }),
      serverService({ name: "webhook", server: app, listen: config.listen }),
    ],
  };
}

async function openCertificate(
  name: string,
  tls: Tls,
  { logger, metrics }: { readonly logger: Logger; readonly metrics: Metrics },
): Promise<Certificate | undefined> {
  return tls && createCertificate({ ...tls, name, logger, metrics });
}

function closeAll(certificates: readonly (Certificate | undefined)[]): void {
  for (const certificate of certificates) certificate?.close();
}

/** The API server refuses an expired certificate, and with failurePolicy Ignore nobody sees that pods pass by. */
function whyExpired(certificate: Certificate | undefined, now: Date): string | undefined {
  return certificate && certificate.notAfter < now ? `expired at ${certificate.notAfter.toISOString()}` : undefined;
}
