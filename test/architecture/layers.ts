/** Who may import whom: the arrows of docs/architecture.md. They may not turn around. */
export const ALLOWED_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  core: [],
  runtime: ["core"],
  storage: ["core", "runtime"],
  "registry-client": ["core", "runtime"],
  kube: ["core", "runtime"],
  webhook: ["core", "runtime"],
  registry: ["core", "runtime", "storage", "registry-client"],
  controllers: ["core", "runtime", "kube", "registry-client"],
  proxy: ["core", "runtime", "registry-client"],
  cli: ["runtime", "registry", "webhook", "controllers", "proxy"],
};

/** Each library is touched by as few packages as possible; only `kube` pays for the Kubernetes client. */
export const ALLOWED_LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  core: ["zod"],
  runtime: ["zod", "fastify", "pino", "prom-client", "node-cron", "yaml"],
  storage: ["pg", "zod"],
  "registry-client": ["zod", "undici"],
  kube: ["zod", "@kubernetes/client-node"],
  webhook: ["zod", "fastify", "fast-json-patch"],
  registry: ["zod", "fastify", "bcryptjs"],
  controllers: ["zod", "@peculiar/x509", "reflect-metadata"],
  proxy: ["zod", "fastify"],
  cli: [],
};
