import { messageOf } from "@cache-registry/core/errors";
import { ApiError } from "@cache-registry/kube/api-error";
import { createClient, type KubeClient } from "@cache-registry/kube/client";
import { ConfigError } from "@cache-registry/runtime/config";

export type CommandClientOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly userAgent: string;
};

/**
 * Runs a command of a person with a client of its own. @throws ConfigError, a sentence instead of a stack, when there is no
 * usable kubeconfig or its user lacks rights
 */
export async function withCommandClient<Result>(
  options: CommandClientOptions,
  work: (client: KubeClient) => Promise<Result>,
): Promise<Result> {
  const client = connected(options);
  try {
    return await work(client);
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 401 && error.status !== 403)) throw error;
    throw new ConfigError([`${error.message}; this needs the rights of whoever installs the chart`], "the kubeconfig");
  } finally {
    client.close();
  }
}

function connected(options: CommandClientOptions): KubeClient {
  try {
    return createClient(options);
  } catch (error) {
    throw new ConfigError([messageOf(error)], "the kubeconfig");
  }
}
