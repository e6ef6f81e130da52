import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import type { ApiServer } from "./api-server.ts";
import { eventually } from "./eventually.ts";
import type { WebhookProcess } from "./webhook-process.ts";

export const WEBHOOK_NAME = "pods.cache-registry.enix.io";

export type ApiAnswer = { readonly status: number; readonly body: unknown };

/** How a test speaks with the API server: as the kubeconfig's user, all rights. */
export type ApiAccess = { readonly url: string; readonly headers: Readonly<Record<string, string>> };

export function accessOf({ kubeconfig }: ApiServer): ApiAccess {
  const config = JSON.parse(readFileSync(kubeconfig, "utf8")) as {
    readonly clusters: readonly [{ readonly cluster: { readonly server: string } }];
    readonly users: readonly [{ readonly user: { readonly token: string } }];
  };
  return {
    url: config.clusters[0].cluster.server,
    headers: { authorization: `Bearer ${config.users[0].user.token}` },
  };
}

/** Asks the API server; a text answer stays text. */
export function askApi(
  { url, headers }: ApiAccess,
  { method = "GET", path, body }: { readonly method?: string; readonly path: string; readonly body?: unknown },
): Promise<ApiAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const content = text === undefined ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const options = { method, rejectUnauthorized: false, headers: { ...headers, ...content } };
    const asking = request(url + path, options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk)).once("error", reject);
      answer.once("end", () => {
        const read = Buffer.concat(chunks).toString();
        const isJson = answer.headers["content-type"]?.startsWith("application/json");
        resolve({ status: answer.statusCode ?? 0, body: isJson ? (JSON.parse(read) as unknown) : read });
      });
    });
    asking.once("error", reject).end(text);
  });
}

/** Makes the API server ask the webhook as the chart does, for all namespaces but these; returns once it does. */
export async function registerWebhook(
  server: ApiServer,
  webhook: WebhookProcess,
  exceptNamespaces: readonly string[] = [],
): Promise<void> {
  const rule = { apiGroups: [""], apiVersions: ["v1"], scope: "Namespaced" };
  const configuration = {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "cache-registry-webhook" },
    webhooks: [
      {
        name: WEBHOOK_NAME,
        admissionReviewVersions: ["v1"],
        clientConfig: { url: webhook.url, caBundle: Buffer.from(webhook.ca).toString("base64") },
        rules: [
          { ...rule, operations: ["CREATE"], resources: ["pods"] },
          { ...rule, operations: ["UPDATE"], resources: ["pods/ephemeralcontainers"] },
        ],
        namespaceSelector: {
          matchExpressions: [
            { key: "kubernetes.io/metadata.name", operator: "NotIn", values: ["kube-system", ...exceptNamespaces] },
          ],
        },
        // A webhook that does not answer fails the test.
        failurePolicy: "Fail",
        timeoutSeconds: 10,
        reinvocationPolicy: "IfNeeded",
        matchPolicy: "Equivalent",
        sideEffects: "None",
      },
    ],
  };
  const args = [`--kubeconfig=${server.kubeconfig}`, "apply", "-f", "-"];
  const { status, stderr } = spawnSync(server.kubectl, args, {
    input: JSON.stringify(configuration),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`the webhook was not registered: ${stderr}`);
  const access = accessOf(server);
  const pod = { metadata: { generateName: "probe-" }, spec: { containers: [{ name: "a", image: "nginx" }] } };
  await eventually(async () => {
    const { body } = await askApi(access, { method: "POST", path: podsPath("default"), body: pod });
    if (!JSON.stringify(body).includes('"cache-registry.enix.io/managed":"true"')) throw new Error("not asked yet");
  }, 60_000);
}

/** Where a pod is created that does not stay. */
export function podsPath(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/pods?dryRun=All`;
}
