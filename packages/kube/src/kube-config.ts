import { existsSync } from "node:fs";
import { Agent } from "node:http";
import type { RequestOptions } from "node:https";
import { delimiter, join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";

type TlsOptions = Pick<RequestOptions, "ca" | "cert" | "key" | "passphrase" | "rejectUnauthorized" | "servername">;

/** How to reach the API server and who we are. `fingerprint` changes with the TLS material and the proxy. */
export type Connection = {
  readonly server: URL;
  readonly tls: TlsOptions;
  readonly headers: Readonly<Record<string, string>>;
  /** The way through the proxy that the kubeconfig names (`proxy-url`), if it does. */
  readonly proxied?: Agent | undefined;
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
 * KUBECONFIG, which may be a list, when set; else the service account of the pod, else ~/.kube/config. Service account tokens live for an hour,
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
  const files = filesOf(env);
  const [first, ...others] = files;
  if (first !== undefined) {
    config.loadFromFile(first);
    // The first that has a current context says which.
    for (const file of others) config.mergeConfig(loadedFrom(file), Boolean(config.currentContext));
  } else if (env.KUBERNETES_SERVICE_HOST) config.loadFromCluster();
  else throw new Error("no API server: set KUBECONFIG, or run in a pod with a service account token");
  if (!config.getCurrentCluster()) throw new Error("the kubeconfig has no current context with a cluster");
  return config;
}

/** As kubectl reads them: of several those that are not there are left out. */
function filesOf({ KUBECONFIG, KUBERNETES_SERVICE_HOST, HOME, USERPROFILE }: NodeJS.ProcessEnv): string[] {
  const listed = (KUBECONFIG ?? "").split(delimiter).filter((file) => file !== "");
  if (listed.length > 1) {
    const there = listed.filter((file) => existsSync(file));
    return there.length > 0 ? there : listed;
  }
  if (listed.length > 0 || KUBERNETES_SERVICE_HOST) return listed;
  const home = HOME || USERPROFILE;
  const usual = home && join(home, ".kube", "config");
  return usual && existsSync(usual) ? [usual] : [];
}

function loadedFrom(file: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(file);
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
  const proxied = cluster.proxyUrl && options.agent instanceof Agent ? options.agent : undefined;
  const fingerprint = JSON.stringify([ca, cert, key, cluster.proxyUrl]);
  return { server: new URL(cluster.server), tls, headers, proxied, fingerprint };
}
