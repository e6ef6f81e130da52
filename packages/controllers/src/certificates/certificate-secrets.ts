import { CERTIFICATE_LABEL } from "@cache-registry/core/labels";
import type { KubeClient } from "@cache-registry/kube/client";
import type { OwnerReference } from "@cache-registry/kube/object";
import { SECRETS } from "@cache-registry/kube/resource";
import type { Secret } from "@cache-registry/kube/workloads";
import { type ReadPair, readPair } from "./pem.ts";

/** `authority`: with the key that signs; `serving`: for a server and those who check it. */
export type CertificateRole = "authority" | "serving";

/** PEM texts under the keys that cert-manager uses, too. */
export type CertificateData = { readonly certificate: string; readonly key: string; readonly authorities: string };

export type SecretWrite = {
  readonly role: CertificateRole;
  readonly data: CertificateData;
  /** What the decision was made on. */
  readonly seen: Secret | undefined;
};

export type HeldSecret = {
  readonly secret: Secret | undefined;
  /** Not made by us: it is left as it is. */
  readonly foreign: boolean;
  readonly pair: ReadPair | { problem: string };
  /** The text of ca.crt; empty when it is not there. */
  readonly authorities: string;
};

export type CertificateSecretsOptions = {
  readonly client: Pick<KubeClient, "create" | "update">;
  readonly namespace: string;
  /** As last seen by a watch. */
  readonly find: (name: string) => Secret | undefined;
  /** An own write, for the copy that the watch keeps. */
  readonly observe: (secret: Secret) => void;
  readonly owner: () => Promise<OwnerReference[] | undefined>;
};

/** The Secrets that hold certificates. A write never overwrites what it has not seen: two leaders cannot undo each other. */
export interface CertificateSecrets {
  read(name: string): HeldSecret;
  /**
   * Creates it or replaces its content. @throws ApiError 409 when it is not, or no more, as it was when it was decided to
   * write; making keys takes a moment, in which somebody else may have been faster
   */
  write(name: string, write: SecretWrite, signal: AbortSignal): Promise<Secret>;
  /** Does the Secret still go with our Deployment, and not with one that is gone? */
  isOwned(secret: Secret): Promise<boolean>;
}

export function createCertificateSecrets(options: CertificateSecretsOptions): CertificateSecrets {
  const { client, namespace, find, observe, owner } = options;

  return {
    read(name) {
      const secret = find(name);
      if (secret === undefined) return { secret, foreign: false, pair: { problem: "missing" }, authorities: "" };
      const text = (key: string): string | undefined => {
        const value = secret.data?.[key];
        return value === undefined ? undefined : Buffer.from(value, "base64").toString("utf8");
      };
      const pair = readPair(text("tls.crt"), text("tls.key"));
      return { secret, foreign: !isOurs(secret), pair, authorities: text("ca.crt") ?? "" };
    },

    async write(name, { role, data: { certificate, key, authorities }, seen }, signal) {
      const encode = (text: string): string => Buffer.from(text).toString("base64");
      const secret: Secret = {
        apiVersion: "v1",
        kind: "Secret",
        metadata: {
          ...withoutCertManager(seen),
          namespace,
          name,
          labels: { ...withoutCertManager(seen)?.labels, [CERTIFICATE_LABEL]: role },
          ownerReferences: await owner(),
        },
        // cannot be changed
        type: seen?.type ?? "kubernetes.io/tls",
        data: {
          "tls.crt": encode(certificate),
          "tls.key": encode(key),
          "ca.crt": encode(authorities),
        },
      };
      const written = seen
        ? await client.update(SECRETS, secret, { signal })
        : await client.create(SECRETS, secret, { signal });
      observe(written);
      return written;
    },

    async isOwned({ metadata }) {
      const wanted = await owner();
      return wanted === undefined || metadata.ownerReferences?.[0]?.uid === wanted[0]?.uid;
    },
  };
}

const CERTIFICATE_NAME = "cert-manager.io/certificate-name";

/**
 * Made by us, or by the Certificate that the chart makes where cert-manager issues (`x` writes to `x-tls`): with the
 * mode selfManaged nobody renews that any more.
 */
function isOurs({ metadata }: Secret): boolean {
  if (metadata.labels?.[CERTIFICATE_LABEL] !== undefined) return true;
  return `${metadata.annotations?.[CERTIFICATE_NAME]}-tls` === metadata.name;
}

/** Its marks would say that cert-manager still keeps the Secret. */
function withoutCertManager(secret: Secret | undefined): Secret["metadata"] | undefined {
  if (secret === undefined) return undefined;
  const { managedFields: _, labels, annotations, ...metadata } = secret.metadata;
  const others = (map: Record<string, string> = {}): Record<string, string> =>
    Object.fromEntries(Object.entries(map).filter(([key]) => !/(^|\.)cert-manager\.io\//.test(key)));
  return { ...metadata, labels: others(labels), annotations: others(annotations) };
}
