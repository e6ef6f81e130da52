import type { KubeClient } from "@cache-registry/kube/client";
import { createController } from "@cache-registry/kube/controller";
import type { EventRecorder } from "@cache-registry/kube/events";
import { createInformer, type Informer, type InformerTiming } from "@cache-registry/kube/informer";
import type { KubeObject } from "@cache-registry/kube/object";
import { MUTATING_WEBHOOK_CONFIGURATIONS, type Resource, SECRETS } from "@cache-registry/kube/resource";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { ownDeployment } from "../own-deployment.ts";
import { createCertificateSecrets } from "./certificate-secrets.ts";
import type { CertificatesConfig } from "./config.ts";
import { createCertificateKeeper, type KeeperObserver } from "./keeper.ts";

export type CertificatesDeps = {
  readonly client: KubeClient;
  /** The controllers' own. */
  readonly namespace: string;
  /** The owner of the Secrets; undefined: they stay when the release goes. */
  readonly deployment: string | undefined;
  readonly rules: CertificatesConfig;
  readonly events: EventRecorder;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly timing?: Partial<InformerTiming>;
};

/** The leader's work on certificates of our own making. */
export type Certificates = {
  run(signal: AbortSignal): Promise<void>;
  /** Why it does not go on, if so. */
  problem(): string | undefined;
  /** What a person has to set right, if so. */
  warning(): string | undefined;
};

/** Everything depends on everything: there is one key. */
const ALL = "certificates";
/** Between two looks: another program that wants something else of the same objects must not make a loop of it. */
const MIN_INTERVAL = 1_000;
const RETRY = { initial: 250, max: 30_000 };

export function createCertificates(deps: CertificatesDeps): Certificates {
  const { client, namespace, deployment, rules, events, metrics } = deps;
  const logger = deps.logger.child({ work: ALL });
  const secretNames = [rules.caSecret, ...rules.serving.map(({ secret }) => secret)];
  const configurationNames = [...new Set(rules.serving.flatMap(({ webhooks }) => webhooks))];

  // One object each: the API server grants a watch by name only for exactly one name.
  function watch<T extends KubeObject>(resource: Resource<T>, name: string, within?: string): Informer<T, T> {
    return createInformer<T, T>({
      client,
      resource,
      ...(within === undefined ? {} : { namespace: within }),
      fieldSelector: `metadata.name=${name}`,
      transform: (object) => object,
      logger: deps.logger,
      metrics,
      ...(deps.timing === undefined ? {} : { timing: deps.timing }),
    });
  }

  const secretWatches = new Map(secretNames.map((name) => [name, watch(SECRETS, name, namespace)]));
  const configurations = new Map(
    configurationNames.map((name) => [name, watch(MUTATING_WEBHOOK_CONFIGURATIONS, name)]),
  );
  const informers = [...secretWatches.values(), ...configurations.values()];
  let owner: ReturnType<typeof ownDeployment> | undefined;
  const { observer, forget } = observeKeeper(metrics);

  const keeper = createCertificateKeeper({
    client,
    rules,
    events,
    logger,
    observer,
    now: () => new Date(),
    configuration: (name) => configurations.get(name)?.get(name),
    observeConfiguration: (object) => configurations.get(object.metadata.name)?.observe(object),
    secrets: createCertificateSecrets({
      client,
      namespace,
      find: (name) => secretWatches.get(name)?.get(`${namespace}/${name}`),
      observe: (object) => secretWatches.get(object.metadata.name)?.observe(object),
      owner: () => {
        owner ??= ownDeployment(client, namespace, deployment).catch((error: unknown) => {
          owner = undefined;
          throw error;
        });
        return owner;
      },
    }),
  });
  let lookedAt = Number.NEGATIVE_INFINITY;
  const controller = createController({
    name: ALL,
    reconcile: async (_key, signal) => {
      const result = await keeper.look(signal);
      lookedAt = performance.now();
      return result;
    },
    concurrency: 1,
    informers,
    retry: RETRY,
    logger,
    metrics,
  });
  const soon = (): void => controller.enqueueAfter(ALL, lookedAt + MIN_INTERVAL - performance.now());
  for (const informer of informers) informer.onChange(soon);
  controller.enqueue(ALL);

  return {
    warning: () => keeper.problem(),
    problem: () => informers.map((informer) => informer.problem()).find((problem) => problem !== undefined),
    async run(signal) {
      await Promise.all([...informers.map((informer) => informer.run(signal)), controller.run(signal)]);
      forget();
    },
  };
}

/** `forget`: another replica leads now, and only the leader knows. */
function observeKeeper(metrics: Metrics): { observer: KeeperObserver; forget: () => void } {
  const expiry = metrics.gauge({
    name: "managed_certificate_not_after_seconds",
    help: "Unix time at which a certificate that the controllers keep in a Secret expires; only the leader knows.",
    labels: ["secret"],
  });
  const issued = metrics.counter({
    name: "certificates_issued_total",
    help: "Certificates and certificate authorities made, by Secret.",
    labels: ["secret"],
  });
  const bundles = metrics.counter({
    name: "ca_bundle_writes_total",
    help: "Times that the caBundle of a webhook configuration was set, or set right again.",
    labels: ["configuration"],
  });
  return {
    observer: {
      issued: (secret) => issued.inc({ secret }),
      expires: (secret, notAfter) => expiry.set({ secret }, notAfter.getTime() / 1_000),
      bundleWritten: (configuration) => bundles.inc({ configuration }),
    },
    forget: () => expiry.reset(),
  };
}
