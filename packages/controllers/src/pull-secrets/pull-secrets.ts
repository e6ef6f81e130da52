import { messageOf } from "@cache-registry/core/errors";
import { parseImageReference } from "@cache-registry/core/image-reference";
import { ApiError } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { ConditionUpdate } from "@cache-registry/kube/conditions";
import { SECRETS } from "@cache-registry/kube/resource";
import type { Secret } from "@cache-registry/kube/workloads";
import type { Logger } from "@cache-registry/runtime/logger";
import type { UsageIndex } from "../cached-image/usage.ts";
import type { PodRecord } from "../pod/pod-record.ts";
import { credentialsIn, type UserAndPassword } from "./pull-secret.ts";
import { printSecretName, type SecretName } from "./secret-name.ts";

/** What the registry is told, and what people are. */
export type Lending = {
  /** Undefined: what it was told before may still be right. */
  readonly credentials: readonly UserAndPassword[] | undefined;
  readonly condition: ConditionUpdate;
};

/** The credentials of private images. They pass through: nothing of a Secret is kept, logged or written anywhere. */
export interface PullSecrets {
  /**
   * The Secrets that may be read for an image now: of pods that use it, and of `declared` (spec.pullSecrets) those beside
   * such a pod; only in namespaces that are shared.
   */
  namesFor(reference: string, declared: readonly SecretName[]): readonly SecretName[];
  /** Never rejects but with the signal's reason. */
  read(reference: string, names: readonly SecretName[], signal: AbortSignal): Promise<Lending>;
  /** What to say when none of the declared Secrets may be read. */
  notAllowed(): ConditionUpdate;
}

export type PullSecretsDeps = {
  readonly client: Pick<KubeClient, "get">;
  /** Namespaces whose pull secrets may be read. */
  readonly sharedNamespaces: ReadonlySet<string>;
  readonly pods: { get(key: string): PodRecord | undefined };
  readonly usage: Pick<UsageIndex, "usersOf">;
  /** Does what is sent to the registry stay between us? */
  readonly confidential: boolean;
  readonly logger: Logger;
};

export const PULL_SECRETS = "PullSecrets";

/** The field `spec.pullSecrets` takes 32. */
export const MAX_SECRETS = 32;
/** The management API takes 16. */
const MAX_CREDENTIALS = 16;
const MAX_NAMED = 3;

type Outcome =
  | { readonly credentials: readonly UserAndPassword[] }
  | { readonly problem: string; readonly message: string; readonly passing?: boolean };

export function createPullSecrets(deps: PullSecretsDeps): PullSecrets {
  const { client, sharedNamespaces, pods, usage, confidential, logger } = deps;

  async function find(reference: string, at: SecretName, signal: AbortSignal): Promise<Outcome> {
    const image = parseImageReference(reference);
    if (image === undefined) return { problem: "NoMatch", message: "the image has no valid reference" };
    let secret: Secret;
    try {
      secret = await client.get(SECRETS, at, { signal });
    } catch (error) {
      signal.throwIfAborted();
      return outcomeOf(error);
    }
    return credentialsIn(secret, image);
  }

  return {
    namesFor(reference, declared) {
      if (sharedNamespaces.size === 0) return [];
      const names = new Map<string, SecretName>();
      const add = (secret: SecretName) => names.set(printSecretName(secret), secret);
      const namespaces = new Set<string>();
      for (const key of usage.usersOf(reference).pods) {
        const pod = pods.get(key);
        if (pod === undefined || !sharedNamespaces.has(pod.namespace) || !pod.recorded.includes(reference)) continue;
        const { namespace } = pod;
        namespaces.add(namespace);
        for (const name of pod.pullSecrets) add({ namespace, name });
      }
      for (const { namespace, name } of declared) {
        if (namespaces.has(namespace)) add({ namespace, name });
      }
      const sorted = [...names].sort(([a], [b]) => (a < b ? -1 : 1));
      return sorted.slice(0, MAX_SECRETS).map(([, name]) => name);
    },
    async read(reference, names, signal) {
      if (!confidential) return { credentials: undefined, condition: insecure(names) };
      const credentials: UserAndPassword[] = [];
      const problems: { at: SecretName; problem: string; message: string; passing: boolean }[] = [];
      const used: SecretName[] = [];
      for (const at of names) {
        const outcome = await find(reference, at, signal);
        if ("problem" in outcome) {
          problems.push({ at, passing: false, ...outcome });
        } else {
          used.push(at);
          credentials.push(...outcome.credentials);
        }
      }
      for (const { at, message } of problems) {
        logger.debug({ image: reference, secret: printSecretName(at), problem: message }, "pull secret not used");
      }
      if (used.length > 0) {
        return { credentials: distinct(credentials).slice(0, MAX_CREDENTIALS), condition: handedOver(used) };
      }
      const [first] = problems;
      const all = problems.slice(0, MAX_NAMED).map(({ at, message }) => `${printSecretName(at)}: ${message}`);
      const passing = problems.some((problem) => problem.passing);
      return {
        credentials: passing ? undefined : [],
        condition: {
          type: PULL_SECRETS,
          status: passing ? "Unknown" : "False",
          reason: first?.problem ?? "NotFound",
          message: `The image is pulled without credentials. ${all.join("; ")}${others(problems.length)}.`,
        },
      };
    },
    notAllowed: () => ({
      type: PULL_SECRETS,
      status: "False",
      reason: "NotAllowed",
      message:
        "None of spec.pullSecrets may be read: a Secret is read only in namespaces that the value privateImages shares, " +
        "and only while a pod there uses the image through the cache.",
    }),
  };
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof ApiError)) return { problem: "Unreadable", message: messageOf(error), passing: true };
  if (error.status === 404) return { problem: "NotFound", message: "it does not exist" };
  if (error.status === 403) {
    return { problem: "Forbidden", message: "the controllers may not read it: a Role in its namespace is missing" };
  }
  const message = `the API server answered ${error.status}`;
  return { problem: "Unreadable", message, passing: true };
}

function handedOver(names: readonly SecretName[]): ConditionUpdate {
  const message =
    `The registry pulls the image with the credentials of ${listOf(names)}; ` +
    "once it is cached every pod that names it gets it.";
  return { type: PULL_SECRETS, status: "True", reason: "HandedOver", message };
}

function insecure(names: readonly SecretName[]): ConditionUpdate {
  const message =
    `The credentials of ${listOf(names)} are neither read nor handed over, because the controllers reach the registry ` +
    "over plain HTTP: registry.url must begin with https.";
  return { type: PULL_SECRETS, status: "False", reason: "InsecureRegistry", message };
}

function listOf(names: readonly SecretName[]): string {
  return `${names.slice(0, MAX_NAMED).map(printSecretName).join(", ")}${others(names.length)}`;
}

function others(count: number): string {
  return count > MAX_NAMED ? ` and ${count - MAX_NAMED} more` : "";
}

/** Namespaces often hold copies of one Secret. */
function distinct(credentials: readonly UserAndPassword[]): UserAndPassword[] {
  return [...new Map(credentials.map((one) => [JSON.stringify([one.username, one.password]), one])).values()];
}
