import type { RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";

type TlsOptions = Pick<RequestOptions, "ca" | "cert" | "key" | "passphrase" | "rejectUnauthorized" | "servername">;

/** How to reach the API server and who we are. `fingerprint` changes with the TLS material. */
export type Connection = {
  readonly server: URL;
  readonly tls: TlsOptions;
  readonly headers: Readonly<Record<string, string>>;
  readonly fingerprint: string;
};

export interface ConnectionSource {
  /** Files and exec plugins are asked at most once a minute. */
  current(): Promise<Connection>;
  /** After a 401: the next `current` reads everything anew. */
  invalidate(): void;
  /** The namespace of the context or of the service account. */
  readonly namespace: string | undefined;
}

const MAX_AGE = 60_000;

/**
 * KUBECONFIG (or ~/.kube/config) when set, else the service account of the pod. Service account tokens live for an hour,
 * client certificates are rotated: both are read again once a minute.
 * @throws Error when there is neither
 */
export function createConnectionSource(env: Readonly<Record<string, string | undefined>>): ConnectionSource {
  let config = load(env);
  let loadedAt = Date.now();
  let pending: Promise<Connection> | undefined;
  const source: ConnectionSource = {
    namespace: config.getContextObject(config.currentContext)?.namespace,
    current() {
      if (Date.now() - loadedAt > MAX_AGE) source.invalidate();
      pending ??= connect(config).catch((error: unknown) => {
        pending = undefined;
        throw error;
      });
      return pending;
    },
    invalidate() {
      // client-node caches the token of the file itself, so a fresh object is needed to see a rotated one.
      config = load(env);
      loadedAt = Date.now();
      pending = undefined;
    },
  };
  return source;
}

function load(env: Readonly<Record<string, string | undefined>>): KubeConfig {
  const config = new KubeConfig();
  if (env.KUBECONFIG) config.loadFromFile(env.KUBECONFIG);
  else if (env.KUBERNETES_SERVICE_HOST) config.loadFromCluster();
  else throw new Error("no API server: set KUBECONFIG, or run in a pod with a service account token");
  if (!config.getCurrentCluster()) throw new Error("the kubeconfig has no current context with a cluster");
  return config;
}

async function connect(config: KubeConfig): Promise<Connection> {
  const cluster = config.getCurrentCluster();
  if (!cluster) throw new Error("the kubeconfig has no current context with a cluster");
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const { ca, cert, key, passphrase, rejectUnauthorized, servername } = options;
  const headers: Record<string, string> = {};
  // A token file usually ends with a newline, which no header may hold.
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = String(value).trim();
  if (options.auth) headers.Authorization = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  const tls = { ca, cert, key, passphrase, rejectUnauthorized, servername };
  const fingerprint = JSON.stringify([ca, cert, key]);
  return { server: new URL(cluster.server), tls, headers, fingerprint };
}
