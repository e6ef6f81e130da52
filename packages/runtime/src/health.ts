import { messageOf } from "@cache-registry/core/errors";
import type { FastifyInstance } from "fastify";
import type { Certificate } from "./certificate.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { createServer } from "./server.ts";

/** A probe waits about as long; a check that hangs must not hang the answer. */
const CHECK_TIMEOUT = 2_000;

export type HealthCheck = {
  readonly name: string;
  /** Why it is not ready, or undefined. A throw counts as not ready, so does an answer later than 2 s. */
  readonly check: () => string | undefined | Promise<string | undefined>;
  /** Shown by `?verbose`, without making the process unready. */
  readonly warnOnly?: boolean;
};

export type CheckResult = {
  readonly name: string;
  readonly ok: boolean;
  readonly warnOnly: boolean;
  readonly why?: string;
};

export type Health = {
  /** The result removes the check. */
  addCheck(check: HealthCheck): () => void;
  /** Readiness of the process itself, apart from the checks; it starts unready. */
  setReady(): void;
  setUnready(reason: string): void;
  report(): Promise<{ readonly ready: boolean; readonly checks: readonly CheckResult[] }>;
};

async function runCheck({ name, check, warnOnly = false }: HealthCheck): Promise<CheckResult> {
  const late = Promise.withResolvers<string>();
  const timer = setTimeout(() => late.resolve(`no answer within ${CHECK_TIMEOUT} ms`), CHECK_TIMEOUT);
  try {
    const why = await Promise.race([(async () => check())(), late.promise]);
    return why === undefined ? { name, ok: true, warnOnly } : { name, ok: false, warnOnly, why };
  } catch (error) {
    return { name, ok: false, warnOnly, why: messageOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

export function createHealth(): Health {
  const checks = new Set<HealthCheck>();
  let unready: string | undefined = "starting";
  checks.add({ name: "process", check: () => unready });
  return {
    addCheck(check) {
      checks.add(check);
      return () => checks.delete(check);
    },
    setReady() {
      unready = undefined;
    },
    setUnready(reason) {
      unready = reason;
    },
    async report() {
      const results = await Promise.all([...checks].map(runCheck));
      return { ready: results.every(({ ok, warnOnly }) => ok || warnOnly), checks: results };
    },
  };
}

function printCheck({ name, ok, warnOnly, why }: CheckResult): string {
  if (ok) return `[+] ${name}: ok`;
  return `${warnOnly ? "[!]" : "[-]"} ${name}: ${why}`;
}

export type ManagementServerOptions = {
  readonly health: Health;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly certificate?: Certificate | undefined;
  readonly bodyLimit?: number;
};

/** `/livez`, `/readyz`, `/readyz?verbose` and `/metrics`; the registry adds `/api/v1` before it listens. */
export function createManagementServer(options: ManagementServerOptions): FastifyInstance {
  const { health, metrics, logger, certificate, bodyLimit } = options;
  const server = createServer({
    logger,
    name: "management",
    certificate,
    accessLog: false,
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
  });

  // Alive as long as the event loop turns; anything else ends the process by itself.
  server.get("/livez", async (_request, reply) => reply.type("text/plain").send("ok\n"));

  server.get<{ Querystring: { verbose?: string } }>("/readyz", async (request, reply) => {
    const { ready, checks } = await health.report();
    const shown = checks.filter(({ ok }) => !ok || request.query.verbose !== undefined);
    const lines = [...shown.map(printCheck), ready ? "ok" : "not ready"];
    return reply
      .code(ready ? 200 : 503)
      .type("text/plain")
      .send(`${lines.join("\n")}\n`);
  });

  server.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));

  return server;
}
