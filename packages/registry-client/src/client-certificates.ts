import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Metrics } from "@cache-registry/runtime/metrics";
import type { Upstream } from "./upstream.ts";

/** When the certificates expire that we show to upstreams (mTLS). Read at each scrape: they are few, and change by themselves. */
export function observeClientCertificates(metrics: Metrics, upstreams: () => readonly Upstream[]): void {
  metrics.gauge({
    name: "upstream_client_certificate_not_after_seconds",
    help: "Unix time at which the client certificate for an upstream expires.",
    labels: ["upstream"],
    async collect(gauge) {
      gauge.reset();
      for (const { registry, tls } of upstreams()) {
        const end = tls?.certFile === undefined ? undefined : await endOf(tls.certFile);
        if (end !== undefined) gauge.set({ upstream: registry }, end);
      }
    },
  });
}

/** Undefined when it cannot be read: whoever uses it says so. */
async function endOf(certFile: string): Promise<number | undefined> {
  try {
    return new X509Certificate(await readFile(certFile)).validToDate.getTime() / 1_000;
  } catch {
    return undefined;
  }
}
