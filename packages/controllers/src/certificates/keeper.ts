import type { X509Certificate } from "node:crypto";
import type { KubeClient } from "@cache-registry/kube/client";
import type { EventRecorder } from "@cache-registry/kube/events";
import type { KubeObject } from "@cache-registry/kube/object";
import type { Result } from "@cache-registry/kube/reconcile";
import { SECRETS } from "@cache-registry/kube/resource";
import type { MutatingWebhookConfiguration } from "@cache-registry/kube/workloads";
import type { Logger } from "@cache-registry/runtime/logger";
import { applyCaBundle } from "./ca-bundle.ts";
import type { CertificateSecrets, HeldSecret } from "./certificate-secrets.ts";
import type { CertificatesConfig, ServingConfig } from "./config.ts";
import { printAuthorities, readAuthorities } from "./pem.ts";
import {
  authorityTimes,
  nextLook,
  renewalTime,
  settleTime,
  trustedAuthorities,
  validity,
  whyNewAuthority,
  whyNewServing,
} from "./plan.ts";

/** What happened, for metrics. */
export type KeeperObserver = {
  issued(secret: string): void;
  expires(secret: string, notAfter: Date): void;
  bundleWritten(configuration: string): void;
};

export type KeeperDeps = {
  readonly client: Pick<KubeClient, "apply">;
  readonly secrets: CertificateSecrets;
  /** As last seen by a watch. */
  readonly configuration: (name: string) => MutatingWebhookConfiguration | undefined;
  readonly observeConfiguration: (configuration: MutatingWebhookConfiguration) => void;
  readonly rules: CertificatesConfig;
  readonly events: EventRecorder;
  readonly observer: KeeperObserver;
  readonly logger: Logger;
  readonly now: () => Date;
};

export type CertificateKeeper = {
  /**
   * One look at everything: authority, then who trusts it, then what it signs. So a certificate is never served before
   * its authority is trusted, and an authority is trusted for as long as something signed by it may be served.
   */
  look(signal: AbortSignal): Promise<Result>;
  /** What a person has to set right, if so. */
  problem(): string | undefined;
};

/** What the rest of one look needs of the authority. */
type Authority = {
  readonly pair: { readonly certificate: string; readonly key: string };
  readonly signing: X509Certificate;
  readonly trusted: readonly X509Certificate[];
  /** PEM of `trusted`. */
  readonly bundle: string;
};

export function createCertificateKeeper(deps: KeeperDeps): CertificateKeeper {
  const { client, secrets, rules, events, observer, logger, now } = deps;
  const reported = new Set<string>();
  const foreign = new Set<string>();
  /** Outlives the Secrets: somebody may delete all of them while servers still have what was in them. */
  let known: readonly X509Certificate[] = [];
  let published: { readonly fingerprint: string; readonly at: number } | undefined;

  async function issuing(): Promise<typeof import("./sign.ts")> {
    // 20 MB and 150 ms that only a replica which issues pays.
    return import("./sign.ts");
  }

  /** Another's Secret under our name: said once, and left alone. */
  async function isForeign(name: string, held: HeldSecret): Promise<boolean> {
    foreign.delete(name);
    if (!held.foreign || held.secret === undefined) return false;
    foreign.add(name);
    const uid = held.secret.metadata.uid ?? "";
    if (reported.has(uid)) return true;
    reported.add(uid);
    logger.error({ secret: name }, "the Secret was not made by these controllers and is left as it is");
    await record(held.secret, "Warning", {
      reason: "CertificateSecretForeign",
      note: "This Secret was not made by the controllers of cache-registry, so no certificate is put into it. Delete it, or set certificates.mode to existingSecret.",
    });
    return true;
  }

  function record(
    object: KubeObject,
    type: "Normal" | "Warning",
    said: { reason: string; note: string },
  ): Promise<void> {
    return events.record(SECRETS, object, { type, action: "IssueCertificate", ...said });
  }

  async function authority(signal: AbortSignal): Promise<Authority | undefined> {
    const name = rules.caSecret;
    const held = secrets.read(name);
    if (await isForeign(name, held)) return undefined;
    const time = now();
    const reason = whyNewAuthority(held.pair, rules, time);
    if (!("problem" in held.pair) && held.pair.leaf.ca) known = [held.pair.leaf, ...known];
    const everywhere = [held, ...rules.serving.map(({ secret }) => secrets.read(secret))];
    known = [...everywhere.flatMap(({ authorities }) => readAuthorities(authorities)), ...known];

    const pair =
      reason === undefined && !("problem" in held.pair)
        ? held.pair
        : await (await issuing()).createAuthority(validity(time, rules.caDuration));
    const [signing] = readAuthorities(pair.certificate);
    if (signing === undefined) throw new Error("the new certificate authority cannot be read");
    const trusted = trustedAuthorities(signing, known, rules, time);
    const bundle = printAuthorities(trusted);
    if (reason !== undefined || bundle !== held.authorities || !(await isOwned(held))) {
      const data = { certificate: pair.certificate, key: pair.key, authorities: bundle };
      const written = await secrets.write(name, { role: "authority", data, seen: held.secret }, signal);
      if (reason !== undefined) {
        logger.info({ secret: name, reason, notAfter: signing.validToDate }, "certificate authority created");
        observer.issued(name);
        const note = `A new certificate authority was made (${reason}), valid until ${signing.validToDate.toISOString()}.`;
        await record(written, "Normal", { reason: "AuthorityCreated", note });
      }
    }
    known = trusted;
    observer.expires(name, signing.validToDate);
    return { pair, signing, trusted, bundle };
  }

  async function isOwned({ secret }: HeldSecret): Promise<boolean> {
    return secret === undefined || secrets.isOwned(secret);
  }

  /** Before anything is signed: the API server and the clients of each server learn whom to trust. */
  async function publish(
    { signing, bundle }: Authority,
    serving: readonly ServingConfig[],
    signal: AbortSignal,
  ): Promise<void> {
    for (const name of new Set(serving.flatMap(({ webhooks }) => webhooks))) {
      const configuration = deps.configuration(name);
      if (configuration === undefined) continue;
      const written = await applyCaBundle({ client, configuration, authorities: bundle, signal });
      if (written === undefined) continue;
      deps.observeConfiguration(written);
      observer.bundleWritten(name);
      logger.info({ configuration: name }, "caBundle written");
    }
    for (const { secret: name } of serving) {
      const held = secrets.read(name);
      if ("problem" in held.pair || (held.authorities === bundle && (await isOwned(held)))) continue;
      const data = { certificate: held.pair.certificate, key: held.pair.key, authorities: bundle };
      await secrets.write(name, { role: "serving", data, seen: held.secret }, signal);
    }
    const fingerprint = signing.fingerprint256;
    if (published?.fingerprint !== fingerprint) published = { fingerprint, at: now().getTime() };
  }

  /** @returns when it is due next */
  async function renew(by: Authority, { secret: name, dnsNames }: ServingConfig, signal: AbortSignal): Promise<number> {
    const time = now();
    const held = secrets.read(name);
    const need = { pair: held.pair, dnsNames, trusted: by.trusted, lifetimes: rules, now: time };
    const renewal = whyNewServing(need);
    if (!("problem" in held.pair)) observer.expires(name, held.pair.leaf.validToDate);
    if (renewal === undefined && !("problem" in held.pair)) return renewalTime(held.pair.leaf, rules);
    const settled = (published?.at ?? time.getTime()) + settleTime(rules);
    if (renewal?.urgent === false && time.getTime() < settled) return settled;

    const lifetime = validity(time, rules.duration, by.signing.validToDate.getTime());
    const pair = await (await issuing()).issueServing(by.pair, { ...lifetime, commonName: name, dnsNames });
    const data = { ...pair, authorities: by.bundle };
    const written = await secrets.write(name, { role: "serving", data, seen: held.secret }, signal);
    observer.issued(name);
    observer.expires(name, lifetime.notAfter);
    const { reason = "" } = renewal ?? {};
    logger.info({ secret: name, reason, dnsNames, notAfter: lifetime.notAfter }, "certificate issued");
    const note = `A new certificate was issued (${reason}), valid until ${lifetime.notAfter.toISOString()}.`;
    await record(written, "Normal", { reason: "CertificateIssued", note });
    return lifetime.notAfter.getTime() - rules.renewBefore;
  }

  return {
    problem() {
      if (foreign.size === 0) return undefined;
      return `not made by these controllers: Secret ${[...foreign].join(", ")}; delete it, or set certificates.mode`;
    },
    async look(signal) {
      const by = await authority(signal);
      // Its Secret is somebody else's. The watch tells when it is gone.
      if (by === undefined) return {};
      const serving: ServingConfig[] = [];
      for (const one of rules.serving) if (!(await isForeign(one.secret, secrets.read(one.secret)))) serving.push(one);
      await publish(by, serving, signal);
      const due = authorityTimes(by.signing, by.trusted, rules);
      for (const one of serving) due.push(await renew(by, one, signal));
      return { requeueAfter: nextLook(due, now()) };
    },
  };
}
