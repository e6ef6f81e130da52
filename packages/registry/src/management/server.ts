import { createCertificate } from "@cache-registry/runtime/certificate";
import { createManagementServer, type ManagementServerOptions } from "@cache-registry/runtime/health";
import type { FastifyInstance } from "fastify";
import type { RegistryConfig } from "../config.ts";

/** Probes and metrics, over TLS where `management.tls` says so; the management API is added to it. */
export async function openManagementServer(
  { tls }: RegistryConfig["management"],
  deps: Pick<ManagementServerOptions, "health" | "metrics" | "logger">,
): Promise<FastifyInstance> {
  const { logger, metrics } = deps;
  const certificate = tls && (await createCertificate({ ...tls, name: "management", logger, metrics }));
  return createManagementServer({ ...deps, ...(certificate ? { certificate } : {}) });
}
