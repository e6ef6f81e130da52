import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { createConnectionSource } from "../../packages/kube/src/kube-config.ts";
import { MUTATING_WEBHOOK_CONFIGURATIONS } from "../../packages/kube/src/resource.ts";
import { createTransport, type Transport } from "../../packages/kube/src/transport.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import {
  CA_SECRET,
  fingerprints,
  heldCertificate,
  keepCertificates,
  NAMESPACE,
  trustedBy,
  webhookConfiguration,
} from "../support/certificates.ts";
import { connect } from "../support/controllers.ts";
import { eventually } from "../support/eventually.ts";
import { startWebhookReplica, type WebhookReplica } from "../support/webhook-replica.ts";

/** Leaves every 4 s, authorities every 8 s. */
const SHORT = { duration: "8s", renewBefore: "4s", caDuration: "16s" };
/** One pod of the webhook learns of a new certificate at once, the other when it is nearly too late. */
const DELAYS = [0, 900];
const CLIENTS = 4;

let server: ApiServer;
let client: KubeClient;
let transport: Transport;

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  const connections = createConnectionSource({ KUBECONFIG: server.kubeconfig });
  transport = createTransport({ connections, userAgent: "test-load", qps: 1_000 });
});

afterAll(async () => {
  transport?.close();
  client?.close();
  await server?.stop();
});

/** A pod that is created for show: every webhook is asked, nothing is stored. @throws what the API server says */
async function admit(): Promise<void> {
  await transport.request({
    method: "POST",
    path: `/api/v1/namespaces/${NAMESPACE}/pods`,
    query: { dryRun: "All" },
    body: {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "load", labels: { test: "admission" } },
      spec: { containers: [{ name: "main", image: "nginx" }] },
    },
  });
}

it("no admission fails while certificates and authorities are replaced under load, with failurePolicy Fail", async () => {
  const names = DELAYS.map((_, index) => `replica-${index}`);
  const keeping = keepCertificates(client, { lifetimes: SHORT, webhooks: names });
  const replicas: WebhookReplica[] = [];
  const stopping = new AbortController();
  const failures: unknown[] = [];
  let admitted = 0;
  async function load(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await admit();
        admitted += 1;
      } catch (error) {
        failures.push(error);
      }
    }
  }
  try {
    for (const [index, name] of names.entries()) {
      const replica = await startWebhookReplica({ secret: () => heldCertificate(client), delay: DELAYS[index] ?? 0 });
      replicas.push(replica);
      await client.create(MUTATING_WEBHOOK_CONFIGURATIONS, webhookConfiguration(name, replica.port));
    }
    for (const name of names) await eventually(async () => expect(await trustedBy(client, name)).toHaveLength(1));
    await eventually(admit);
    const first = (await heldCertificate(client, CA_SECRET)).leaf.fingerprint256;
    const loads = Array.from({ length: CLIENTS }, load);

    // Until the first authority is not even trusted any more: two generations later.
    let both = false;
    await eventually(async () => {
      const trusted = fingerprints(await trustedBy(client, "replica-0"));
      both ||= trusted.length > 1 && trusted.includes(first);
      expect(trusted).not.toContain(first);
    }, 60_000);
    await sleep(1_000);
    stopping.abort();
    await Promise.all(loads);

    expect(failures.slice(0, 3)).toEqual([]);
    expect(both).toBe(true);
    expect(admitted).toBeGreaterThan(100);
    for (const { answered, served } of replicas) {
      expect(answered).toBeGreaterThanOrEqual(admitted);
      expect(served.size).toBeGreaterThanOrEqual(3);
    }
    process.stdout.write(
      `    · ${admitted} admissions, ${replicas.map(({ served }) => served.size).join(" and ")} certificates\n`,
    );
  } finally {
    stopping.abort();
    await keeping.stop();
    for (const replica of replicas) await replica.stop();
  }
}, 110_000);
