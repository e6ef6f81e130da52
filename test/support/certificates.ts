/** What the tests of self-managed certificates share: the leader's work as the limited user, and looks at its results. */
import { X509Certificate } from "node:crypto";
import { certificatesSchema } from "../../packages/controllers/src/certificates/config.ts";
import { type CertificatesDuty, createCertificatesDuty } from "../../packages/controllers/src/certificates/duty.ts";
import { readAuthorities } from "../../packages/controllers/src/certificates/pem.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { createEventRecorder } from "../../packages/kube/src/events.ts";
import { MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS } from "../../packages/kube/src/resource.ts";
import type { MutatingWebhookConfiguration } from "../../packages/kube/src/workloads.ts";
import { silentLogger } from "../../packages/runtime/src/logger.ts";
import { createMetrics, type Metrics } from "../../packages/runtime/src/metrics.ts";

export const NAMESPACE = "default";
export const CA_SECRET = "test-ca";
export const TLS_SECRET = "test-webhook-tls";
export const DEPLOYMENT = "controllers";

export type Lifetimes = { readonly duration: string; readonly renewBefore: string; readonly caDuration: string };

export const LONG: Lifetimes = { duration: "90d", renewBefore: "30d", caDuration: "365d" };

export type Keeping = {
  readonly certificates: CertificatesDuty;
  readonly metrics: Metrics;
  stop(): Promise<void>;
};

export type KeepOptions = {
  readonly lifetimes?: Lifetimes;
  readonly webhooks: readonly string[];
  readonly mode?: "auto" | "selfManaged";
};

export function keepCertificates(
  client: KubeClient,
  { lifetimes = LONG, webhooks, mode = "selfManaged" }: KeepOptions,
): Keeping {
  const logger = silentLogger();
  const metrics = createMetrics({ defaultMetrics: false });
  const events = createEventRecorder({ client, controller: "test/controllers", instance: "test-0", logger });
  const serving = [{ secret: TLS_SECRET, dnsNames: ["webhook.default.svc", "localhost"], webhooks: [...webhooks] }];
  const certificates = createCertificatesDuty({
    client,
    namespace: NAMESPACE,
    deployment: DEPLOYMENT,
    rules: certificatesSchema.parse({ mode, caSecret: CA_SECRET, serving, ...lifetimes }),
    events,
    logger,
    metrics,
    timing: { retryInitial: 100, retryMax: 1_000 },
  });
  const ending = new AbortController();
  const running = certificates.run(ending.signal);
  return {
    certificates,
    metrics,
    async stop() {
      ending.abort(new Error("the test is over"));
      await running;
    },
  };
}

export type HeldCertificate = {
  readonly leaf: X509Certificate;
  readonly certificate: string;
  readonly key: string;
  readonly authorities: readonly X509Certificate[];
};

/** @throws while the Secret is missing or not complete */
export async function heldCertificate(client: KubeClient, name: string = TLS_SECRET): Promise<HeldCertificate> {
  const { data } = await client.get(SECRETS, { namespace: NAMESPACE, name });
  const text = (key: string): string => Buffer.from(data?.[key] ?? "", "base64").toString();
  const certificate = text("tls.crt");
  return {
    leaf: new X509Certificate(certificate),
    certificate,
    key: text("tls.key"),
    authorities: readAuthorities(text("ca.crt")),
  };
}

export async function trustedBy(client: KubeClient, configuration: string): Promise<X509Certificate[]> {
  const { webhooks } = await client.get(MUTATING_WEBHOOK_CONFIGURATIONS, { name: configuration });
  return readAuthorities(Buffer.from(webhooks?.[0]?.clientConfig?.caBundle ?? "", "base64").toString());
}

export function fingerprints(certificates: readonly X509Certificate[]): string[] {
  return certificates.map(({ fingerprint256 }) => fingerprint256);
}

/** As the chart writes it: no caBundle, and a failure refuses the pod. */
export function webhookConfiguration(name: string, port: number): MutatingWebhookConfiguration {
  const webhook = {
    name: `${name}.cache-registry.enix.io`,
    admissionReviewVersions: ["v1"],
    clientConfig: { url: `https://localhost:${port}/mutate` },
    rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }],
    objectSelector: { matchLabels: { test: "admission" } },
    failurePolicy: "Fail",
    timeoutSeconds: 10,
    sideEffects: "None",
  };
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name },
    webhooks: [webhook],
  };
}
