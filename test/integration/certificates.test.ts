import { generateKeyPairSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isSignedBy } from "../../packages/controllers/src/certificates/pem.ts";
import { createClient, type KubeClient } from "../../packages/kube/src/client.ts";
import { CUSTOM_RESOURCE_DEFINITIONS } from "../../packages/kube/src/custom-resource-definition.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { DEPLOYMENTS, EVENTS, MUTATING_WEBHOOK_CONFIGURATIONS, SECRETS } from "../../packages/kube/src/resource.ts";
import type { Secret } from "../../packages/kube/src/workloads.ts";
import type { Metrics } from "../../packages/runtime/src/metrics.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import {
  CA_SECRET,
  DEPLOYMENT,
  fingerprints,
  heldCertificate,
  type Keeping,
  type KeepOptions,
  keepCertificates,
  NAMESPACE,
  TLS_SECRET,
  trustedBy,
  webhookConfiguration,
} from "../support/certificates.ts";
import { connect } from "../support/controllers.ts";
import { grantAccess } from "../support/controllers-access.ts";
import { eventually } from "../support/eventually.ts";

const WEBHOOK = "test-webhook";
const BOTH = [CA_SECRET, TLS_SECRET];
const TLS_KIND = { apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls" } as const;

let server: ApiServer;
let admin: KubeClient;
let limited: KubeClient;
let keepings: Keeping[] = [];

beforeAll(async () => {
  server = await startApiServer();
  admin = connect(server);
  limited = createClient({ env: { KUBECONFIG: server.limitedKubeconfig }, userAgent: "test", qps: 500 });
  const certificates = { secrets: BOTH, configurations: [WEBHOOK] };
  const names = { lease: "l", secret: "s", deployment: DEPLOYMENT, configMap: "c", daemonSet: "d" };
  await grantAccess(admin, { namespace: NAMESPACE, ...names, certificates });
  const template = { metadata: { labels: { app: "c" } }, spec: { containers: [{ name: "c", image: "c" }] } };
  const spec = { replicas: 0, selector: { matchLabels: { app: "c" } }, template };
  await admin.create(DEPLOYMENTS, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace: NAMESPACE, name: DEPLOYMENT },
    spec,
  });
});

afterAll(async () => {
  limited?.close();
  admin?.close();
  await server?.stop();
});

beforeEach(async () => {
  await admin.create(MUTATING_WEBHOOK_CONFIGURATIONS, webhookConfiguration(WEBHOOK, 1));
});

afterEach(async () => {
  for (const keeping of keepings) await keeping.stop();
  keepings = [];
  await admin.delete(MUTATING_WEBHOOK_CONFIGURATIONS, { name: WEBHOOK }).catch(() => undefined);
  for (const name of BOTH) await admin.delete(SECRETS, { namespace: NAMESPACE, name }).catch(() => undefined);
  const { items } = await admin.list(EVENTS);
  for (const { metadata } of items) await admin.delete(EVENTS, metadata).catch(() => undefined);
});

function keep(options: Partial<KeepOptions> = {}): Keeping {
  const keeping = keepCertificates(limited, { webhooks: [WEBHOOK], ...options });
  keepings.push(keeping);
  return keeping;
}

/** Everything fits together: the leaf, who signed it, and whom the API server trusts. @throws while it does not */
async function consistent() {
  const [held, authority, trusted] = await Promise.all([
    heldCertificate(admin),
    heldCertificate(admin, CA_SECRET),
    trustedBy(admin, WEBHOOK),
  ]);
  expect(isSignedBy(held.leaf, authority.leaf)).toBe(true);
  expect(fingerprints(trusted)).toEqual(fingerprints(authority.authorities));
  expect(fingerprints(held.authorities)).toEqual(fingerprints(authority.authorities));
  expect(trusted[0]?.fingerprint256).toBe(authority.leaf.fingerprint256);
  return { held, authority, trusted };
}

function secret(name: string): Promise<Secret> {
  return admin.get(SECRETS, { namespace: NAMESPACE, name });
}

async function events(reason: string): Promise<(KubeObject & { note?: string; regarding?: { name?: string } })[]> {
  const { items } = await admin.list(EVENTS, { namespace: NAMESPACE });
  return items.filter((event) => "reason" in event && event.reason === reason);
}

async function writtenBundles(metrics: Metrics): Promise<number> {
  return Number(/ca_bundle_writes_total\{.*\} (\d+)/.exec(await metrics.text())?.[1] ?? 0);
}

describe("certificates of our own making, on a real API server, with the rights of the chart alone", () => {
  it("makes an authority and a certificate, and the API server trusts them", async () => {
    keep();
    const { held } = await eventually(consistent);
    expect(held.leaf.subjectAltName).toBe("DNS:webhook.default.svc, DNS:localhost");
    expect(held.leaf.checkHost("webhook.default.svc")).toBe("webhook.default.svc");
    for (const name of BOTH) {
      const { type, metadata } = await secret(name);
      expect(type).toBe("kubernetes.io/tls");
      expect(metadata.ownerReferences?.[0]).toMatchObject({ kind: "Deployment", name: DEPLOYMENT });
    }
    const about = (
      await eventually(async () => {
        const found = [...(await events("AuthorityCreated")), ...(await events("CertificateIssued"))];
        expect(found).toHaveLength(2);
        return found;
      })
    ).map(({ regarding }) => regarding?.name);
    expect(about).toEqual(BOTH);
  });

  it("changes nothing at a restart, and waits for a configuration that comes later", async () => {
    await admin.delete(MUTATING_WEBHOOK_CONFIGURATIONS, { name: WEBHOOK });
    const first = keep();
    const before = await eventually(() => heldCertificate(admin));
    await first.stop();
    const second = keep();
    await admin.create(MUTATING_WEBHOOK_CONFIGURATIONS, webhookConfiguration(WEBHOOK, 1));
    const { held } = await eventually(consistent);
    expect(held.leaf.fingerprint256).toBe(before.leaf.fingerprint256);
    expect(await second.metrics.text()).not.toMatch(/certificates_issued_total\{.*[1-9]/);
  });

  it("sets the caBundle right when somebody overwrote or removed it, and touches nothing else of it", async () => {
    const { metrics } = keep();
    await eventually(consistent);
    for (const caBundle of [Buffer.from("-----BEGIN NOTHING-----").toString("base64"), undefined]) {
      const current = await admin.get(MUTATING_WEBHOOK_CONFIGURATIONS, { name: WEBHOOK });
      const webhooks = current.webhooks?.map((webhook) => ({
        ...webhook,
        timeoutSeconds: 7,
        clientConfig: { ...webhook.clientConfig, caBundle },
      }));
      await admin.update(MUTATING_WEBHOOK_CONFIGURATIONS, { ...current, webhooks });
      await eventually(consistent, 15_000);
    }
    const { webhooks } = await admin.get(MUTATING_WEBHOOK_CONFIGURATIONS, { name: WEBHOOK });
    expect(webhooks?.[0]).toMatchObject({ timeoutSeconds: 7, failurePolicy: "Fail" });
    await eventually(async () => expect(await writtenBundles(metrics)).toBe(3));
  });

  it("does not make a loop of it when somebody insists", async () => {
    const { metrics } = keep();
    await eventually(consistent);
    const before = await writtenBundles(metrics);
    const end = performance.now() + 3_000;
    let undone = 0;
    while (performance.now() < end) {
      const current = await admin.get(MUTATING_WEBHOOK_CONFIGURATIONS, { name: WEBHOOK });
      const [webhook] = current.webhooks ?? [];
      if (webhook?.clientConfig?.caBundle === undefined) continue;
      const { caBundle: _, ...clientConfig } = webhook.clientConfig;
      const webhooks = [{ ...webhook, clientConfig }];
      await admin.update(MUTATING_WEBHOOK_CONFIGURATIONS, { ...current, webhooks });
      undone += 1;
    }
    expect(undone).toBeGreaterThan(1);
    expect((await writtenBundles(metrics)) - before).toBeLessThanOrEqual(5);
    await eventually(consistent, 15_000);
  });

  it("is not undone by whoever applies the configuration without a caBundle, as helm upgrade does", async () => {
    await admin.apply(MUTATING_WEBHOOK_CONFIGURATIONS, webhookConfiguration(WEBHOOK, 1), { fieldManager: "helm" });
    const { metrics } = keep();
    await eventually(consistent);
    await admin.apply(MUTATING_WEBHOOK_CONFIGURATIONS, webhookConfiguration(WEBHOOK, 2), { fieldManager: "helm" });
    await consistent();
    expect(await writtenBundles(metrics)).toBe(1);
  });

  it("replaces what was deleted or spoiled, and goes on trusting what servers may still have", async () => {
    keep();
    const first = await eventually(consistent);
    await admin.delete(SECRETS, { namespace: NAMESPACE, name: TLS_SECRET });
    const second = await eventually(consistent);
    expect(second.authority.leaf.fingerprint256).toBe(first.authority.leaf.fingerprint256);

    // the key of the authority is another's now
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" });
    const spoiled = await secret(CA_SECRET);
    const data = { ...spoiled.data, "tls.key": Buffer.from(pem).toString("base64") };
    await admin.update(SECRETS, { ...spoiled, data });
    const third = await eventually(async () => {
      const now = await consistentTrust();
      expect(now.authority.leaf.fingerprint256).not.toBe(first.authority.leaf.fingerprint256);
      return now;
    });
    expect(fingerprints(third.trusted)).toContain(first.authority.leaf.fingerprint256);
    // what is served is still good, so that clients get the time to learn of the new authority
    expect((await heldCertificate(admin)).leaf.fingerprint256).toBe(second.held.leaf.fingerprint256);

    // all gone at once
    for (const name of BOTH) await admin.delete(SECRETS, { namespace: NAMESPACE, name });
    const { trusted } = await eventually(consistent);
    for (const { authority } of [first, third]) expect(fingerprints(trusted)).toContain(authority.leaf.fingerprint256);
  });

  it("leaves a Secret that it did not make as it is, says so, and goes on when it is gone", async () => {
    const metadata = { namespace: NAMESPACE, name: TLS_SECRET };
    const data = { "tls.crt": "", "tls.key": "" };
    const made = await admin.create(SECRETS, { ...TLS_KIND, metadata, data });
    const { certificates } = keep();
    await eventually(async () => expect(await events("CertificateSecretForeign")).toHaveLength(1));
    expect(certificates.warning()).toContain(TLS_SECRET);
    expect((await secret(TLS_SECRET)).metadata.resourceVersion).toBe(made.metadata.resourceVersion);
    expect(await trustedBy(admin, WEBHOOK)).toEqual([]);
    await admin.delete(SECRETS, metadata);
    await eventually(consistent);
    expect(certificates.warning()).toBeUndefined();
  });

  it("takes over what cert-manager made for the chart, and trusts it for as long as it may be served", async () => {
    keep();
    const before = await eventually(consistent);
    await keepings.pop()?.stop();
    const made = await secret(TLS_SECRET);
    for (const name of BOTH) await admin.delete(SECRETS, { namespace: NAMESPACE, name });
    const annotations = { "cert-manager.io/certificate-name": WEBHOOK, "cert-manager.io/issuer-name": "x", kept: "y" };
    const metadata = { namespace: NAMESPACE, name: TLS_SECRET, annotations };
    await admin.create(SECRETS, { ...TLS_KIND, metadata, data: made.data ?? {} });
    keep();
    const { held, trusted } = await eventually(async () => {
      const now = await consistentTrust();
      expect(now.trusted).toHaveLength(2);
      return now;
    });
    expect(held.leaf.fingerprint256).toBe(before.held.leaf.fingerprint256);
    expect(fingerprints(trusted)).toContain(before.authority.leaf.fingerprint256);
    expect((await secret(TLS_SECRET)).metadata.annotations).toEqual({ kept: "y" });
  });

  it("auto leaves them to cert-manager where its API is, and makes them where it is not", async () => {
    keep({ mode: "auto" });
    await eventually(consistent);
    await keepings.pop()?.stop();
    for (const name of BOTH) await admin.delete(SECRETS, { namespace: NAMESPACE, name });
    const group = "cert-manager.io";
    const names = { plural: "certificates", singular: "certificate", kind: "Certificate" };
    const schema = { openAPIV3Schema: { type: "object" } };
    const definition = {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `certificates.${group}` },
      spec: { group, names, scope: "Namespaced", versions: [{ name: "v1", served: true, storage: true, schema }] },
    };
    await admin.create(CUSTOM_RESOURCE_DEFINITIONS, definition);
    try {
      await eventually(async () => expect(await limited.serves("cert-manager.io/v1")).toBe(true));
      keep({ mode: "auto" });
      await sleep(1_000);
      await expect(heldCertificate(admin)).rejects.toThrow("not found");
    } finally {
      await admin.delete(CUSTOM_RESOURCE_DEFINITIONS, definition.metadata);
    }
  });

  it("two that both think they lead agree on one authority", async () => {
    keep();
    keep();
    keep();
    await eventually(consistent);
    await sleep(500);
    const { trusted } = await consistent();
    expect(trusted).toHaveLength(1);
  });
});

/** Like `consistent`, while a leaf of the authority before is still served. */
async function consistentTrust() {
  const [held, authority, trusted] = await Promise.all([
    heldCertificate(admin),
    heldCertificate(admin, CA_SECRET),
    trustedBy(admin, WEBHOOK),
  ]);
  expect(trusted.some((one) => isSignedBy(held.leaf, one))).toBe(true);
  expect(fingerprints(trusted)).toEqual(fingerprints(authority.authorities));
  expect(fingerprints(held.authorities)).toEqual(fingerprints(authority.authorities));
  return { held, authority, trusted };
}
