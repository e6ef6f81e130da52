import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type Server } from "node:tls";
import { messageOf } from "@cache-registry/core/errors";
import { ConfigError } from "./config.ts";
import { watchFiles } from "./file-watch.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";

const DEFAULT_POLL_INTERVAL = 10_000;

export type CertificatePair = { readonly cert: Buffer; readonly key: Buffer };

/** A certificate in files that follows their content. What it gives is always the last good pair. */
export type Certificate = {
  pair(): CertificatePair;
  readonly notAfter: Date;
  /** Called after each change; the result ends it. */
  onChange(listener: (pair: CertificatePair) => void): () => void;
  /** Reads the files now. True when they held a new good pair. */
  reload(): Promise<boolean>;
  /** Ends the watching. */
  close(): void;
};

export type CertificateOptions = {
  readonly certFile: string;
  readonly keyFile: string;
  /** Label of the metric: which server. */
  readonly name: string;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Milliseconds between looks at the files, for file systems that do not notify. */
  readonly pollInterval?: number;
};

type Loaded = CertificatePair & { readonly notAfter: Date };

/** @throws Error when a file is unreadable, no PEM, or the key belongs to another certificate */
async function load(certFile: string, keyFile: string): Promise<Loaded> {
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error("the private key belongs to another certificate");
  // Whatever else OpenSSL dislikes about the pair or its chain must show here, not at a handshake.
  createSecureContext({ cert, key });
  return { cert, key, notAfter: leaf.validToDate };
}

function isSame(a: CertificatePair, b: CertificatePair): boolean {
  return a.cert.equals(b.cert) && a.key.equals(b.key);
}

/** @throws ConfigError when there is no good pair to start with */
export async function createCertificate(options: CertificateOptions): Promise<Certificate> {
  const { certFile, keyFile, name, logger, metrics, pollInterval = DEFAULT_POLL_INTERVAL } = options;
  const expiry = metrics?.gauge({
    name: "certificate_not_after_seconds",
    help: "Unix time at which the served certificate expires",
    labels: ["name"],
  });
  const reloads = metrics?.counter({
    name: "certificate_reloads_total",
    help: "Certificate files read after a change, by result",
    labels: ["name", "result"],
  });
  const listeners = new Set<(pair: CertificatePair) => void>();
  let lastProblem = "";
  let current: Loaded;
  try {
    current = await load(certFile, keyFile);
  } catch (error) {
    throw new ConfigError([`no certificate in ${certFile} with key ${keyFile}: ${messageOf(error)}`]);
  }
  expiry?.set({ name }, current.notAfter.getTime() / 1000);

  async function reload(): Promise<boolean> {
    let loaded: Loaded;
    try {
      loaded = await load(certFile, keyFile);
    } catch (error) {
      // Once per problem: the poll comes back every few seconds.
      const problem = messageOf(error);
      if (problem !== lastProblem) {
        reloads?.inc({ name, result: "refused" });
        logger.error({ certFile, keyFile, err: error }, "certificate refused, serving the last good one");
      }
      lastProblem = problem;
      return false;
    }
    lastProblem = "";
    if (isSame(loaded, current)) return false;
    current = loaded;
    expiry?.set({ name }, loaded.notAfter.getTime() / 1000);
    reloads?.inc({ name, result: "accepted" });
    for (const listener of listeners) listener(loaded);
    logger.info({ certFile, notAfter: loaded.notAfter.toISOString() }, "certificate reloaded");
    return true;
  }

  // One read at a time, so that an older pair never replaces a newer one.
  let queue: Promise<unknown> = Promise.resolve();
  function reloadInTurn(): Promise<boolean> {
    const result = queue.then(reload);
    queue = result.catch(() => {});
    return result;
  }

  const stopWatching = watchFiles([certFile, keyFile], pollInterval, () => {
    reloadInTurn().catch((error: unknown) => logger.error({ err: error }, "certificate listener failed"));
  });

  return {
    pair: () => current,
    get notAfter() {
      return current.notAfter;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    reload: reloadInTurn,
    close: stopWatching,
  };
}

/** New handshakes see the certificate's changes; open connections live on. The result ends it. */
export function applyCertificate(server: Server, certificate: Certificate): () => void {
  return certificate.onChange(({ cert, key }) => server.setSecureContext({ cert, key, minVersion: "TLSv1.2" }));
}
