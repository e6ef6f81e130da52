import type { KubeClient } from "@cache-registry/kube/client";
import type { Secret } from "@cache-registry/kube/workloads";
import { beforeEach, describe, expect, it } from "vitest";
import { type CertificateSecrets, createCertificateSecrets } from "./certificate-secrets.ts";

const NAME = "webhook-tls";
const DATA = { certificate: "c", key: "k", authorities: "a" };
const OWNER = { apiVersion: "apps/v1", kind: "Deployment", name: "controllers", uid: "of-now" };
const signal = new AbortController().signal;

let held: Secret | undefined;
let calls: [string, Secret][];
let secrets: CertificateSecrets;

function secret(metadata: Partial<Secret["metadata"]> = {}): Secret {
  return { metadata: { namespace: "n", name: NAME, uid: "u", resourceVersion: "7", ...metadata } };
}

beforeEach(() => {
  held = undefined;
  calls = [];
  const answer = (verb: string) =>
    (async (_resource: unknown, object: Secret) => {
      calls.push([verb, object]);
      return object;
    }) as KubeClient["create"] & KubeClient["update"];
  secrets = createCertificateSecrets({
    client: { create: answer("create"), update: answer("update") },
    namespace: "n",
    find: () => held,
    observe: () => undefined,
    owner: async () => [OWNER],
  });
});

describe("a write", () => {
  it("is of what the decision was made on, not of what came while keys were made", async () => {
    const { secret: seen } = secrets.read(NAME);
    held = secret();
    await secrets.write(NAME, { role: "authority", data: DATA, seen }, signal);
    held = secret({ resourceVersion: "8" });
    await secrets.write(NAME, { role: "authority", data: DATA, seen: secret() }, signal);
    expect(calls.map(([verb, { metadata }]) => [verb, metadata.resourceVersion])).toEqual([
      ["create", undefined],
      ["update", "7"],
    ]);
  });

  it("keeps what others wrote on the Secret, except that cert-manager keeps it, and makes the Deployment its owner", async () => {
    const seen = secret({
      labels: { team: "a", "controller.cert-manager.io/fao": "true" },
      annotations: { note: "b", "cert-manager.io/issuer-name": "x" },
      ownerReferences: [{ ...OWNER, uid: "of-before" }],
    });
    expect(await secrets.isOwned(seen)).toBe(false);
    const written = await secrets.write(NAME, { role: "serving", data: DATA, seen }, signal);
    expect(await secrets.isOwned(written)).toBe(true);
    expect(written.metadata).toMatchObject({ annotations: { note: "b" } });
    expect(written.metadata.labels).toEqual({ team: "a", "cache-registry.enix.io/certificate": "serving" });
    expect(written.metadata.annotations).toEqual({ note: "b" });
  });
});

it("a Secret is foreign unless we made it, or cert-manager for the chart's own certificate", () => {
  const foreign = (metadata?: Partial<Secret["metadata"]>) => {
    held = secret(metadata);
    return secrets.read(NAME).foreign;
  };
  expect(foreign()).toBe(true);
  expect(foreign({ labels: { "cache-registry.enix.io/certificate": "serving" } })).toBe(false);
  expect(foreign({ annotations: { "cert-manager.io/certificate-name": "webhook" } })).toBe(false);
  expect(foreign({ annotations: { "cert-manager.io/certificate-name": "another" } })).toBe(true);
});
