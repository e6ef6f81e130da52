import { randomBytes } from "node:crypto";
import { isConflict, isNotFound } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import { SECRETS } from "@cache-registry/kube/resource";
import { sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import { Secret } from "@cache-registry/runtime/secret";
import { ownDeployment } from "../own-deployment.ts";
import { readSecretKey } from "./secret-key.ts";

export type ManagementTokenOptions = {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
  /** Our own Deployment: the Secret goes with it. Undefined: the Secret stays. */
  readonly deployment: string | undefined;
  readonly logger: Logger;
};

/** The token of the registry's management API, kept in a Secret that the registry's pods mount. */
export interface ManagementToken {
  /** Every replica may do it at once; resolves when the Secret is there. Retries until the signal. */
  ensure(signal: AbortSignal): Promise<void>;
  /** @throws when the Secret cannot be read */
  read(): Promise<string>;
  /** The next `read` asks the API server. */
  invalidate(): void;
}

const TOKEN_BYTES = 32;
const RETRY = 2_000;

export function createManagementToken(options: ManagementTokenOptions): ManagementToken {
  const { client, namespace, name, key, deployment, logger } = options;
  let known: Promise<Secret> | undefined;

  async function read(): Promise<Secret | undefined> {
    try {
      return new Secret((await readSecretKey(client, { namespace, name, key })).trim());
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async function create(): Promise<Secret> {
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    await client.create(SECRETS, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace, name, ownerReferences: await ownDeployment(client, namespace, deployment) },
      type: "Opaque",
      data: { [key]: Buffer.from(token).toString("base64") },
    });
    logger.info({ namespace, name }, "management token created");
    return new Secret(token);
  }

  async function readOrCreate(): Promise<Secret> {
    const existing = await read();
    if (existing) return existing;
    try {
      return await create();
    } catch (error) {
      if (!isConflict(error)) throw error;
      const winner = await read();
      if (winner) return winner;
      throw error;
    }
  }

  async function current(): Promise<Secret> {
    known ??= readOrCreate();
    try {
      return await known;
    } catch (error) {
      known = undefined;
      throw error;
    }
  }

  return {
    invalidate: () => {
      known = undefined;
    },
    read: async () => (await current()).reveal(),
    async ensure(signal) {
      while (!signal.aborted) {
        try {
          await current();
          return;
        } catch (error) {
          logger.warn({ err: error, namespace, name }, "management token not available");
          await sleep(RETRY, signal).catch(() => undefined);
        }
      }
    },
  };
}
