import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { createSecretFile, type SecretFile } from "@cache-registry/runtime/secret";
import { buildConnector } from "undici";
import { isPublicAddress, isPublicName } from "./address-policy.ts";
import type { ForwardProxy } from "./forward-proxy/forward-proxy.ts";
import { openTunnel } from "./forward-proxy/tunnel.ts";
import type { UpstreamTls } from "./upstream.ts";

/** The policy `public` refuses every address that the name has. */
export class AddressDeniedError extends Error {
  override readonly name = "AddressDeniedError";
  readonly code = "ERR_ADDRESS_DENIED";

  constructor(host: string) {
    super(`${host} has no public address, and only listed upstreams may be elsewhere`);
  }
}

type Answer = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;

/** As `dns.lookup` with `all: true`. */
export type Resolve = (hostname: string, options: LookupOptions & { all: true }, answer: Answer) => void;

/** Looks a name up and hides what may not be dialled, so that what was checked is what is dialled (DNS rebinding). */
function createGuardedLookup(resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      const allowed = error ? [] : addresses.filter(({ address }) => isPublicAddress(address));
      const [first] = allowed;
      if (!first) callback(error ?? new AddressDeniedError(hostname), []);
      else if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

export type ConnectorTls = UpstreamTls & {
  /** Show the client certificate? Only an endpoint itself may see it. */
  readonly presentCertificate: boolean;
};

type ContextSource = () => Promise<SecureContext | undefined>;

/** The secure context of some files, made anew when one of them changes; undefined: the defaults of Node.js. */
function createContextSource(tls: ConnectorTls | undefined): ContextSource {
  const file = (path: string | undefined): SecretFile | undefined =>
    path === undefined ? undefined : createSecretFile(path);
  const ca = file(tls?.caFile);
  const cert = tls?.presentCertificate ? file(tls.certFile) : undefined;
  const key = tls?.presentCertificate ? file(tls.keyFile) : undefined;
  if (!ca && !cert) return async () => undefined;

  let held: { readonly version: string; readonly context: SecureContext } | undefined;
  return async () => {
    const pem = { ca: await ca?.read(), cert: await cert?.read(), key: await key?.read() };
    const version = JSON.stringify(pem);
    if (held?.version !== version) {
      const context = createSecureContext({
        ...(pem.ca === undefined ? {} : { ca: [...getCACertificates("default"), pem.ca] }),
        ...(pem.cert === undefined ? {} : { cert: pem.cert }),
        ...(pem.key === undefined ? {} : { key: pem.key }),
      });
      held = { version, context };
    }
    return held.context;
  };
}

export type ConnectorOptions = {
  /** Milliseconds for name, TCP and TLS together. */
  readonly timeout: number;
  readonly tls?: ConnectorTls | undefined;
  /** Dial public addresses only. */
  readonly guarded: boolean;
  readonly resolve?: Resolve | undefined;
  /** Through a tunnel of this proxy. Then it is the proxy that looks the name up, and the name that is judged. */
  readonly proxy?: ForwardProxy | undefined;
};

/** Opens the connections of an undici pool. HTTP/1.1 only: one connection per stream is what long bodies want. */
export function createConnector(connector: ConnectorOptions): buildConnector.connector {
  const { timeout, tls, guarded, resolve, proxy } = connector;
  const contextOf = createContextSource(tls);
  const common = {
    timeout,
    allowH2: false,
    rejectUnauthorized: !tls?.insecureSkipVerify,
    ...(guarded ? { lookup: createGuardedLookup(resolve ?? (dnsLookup as Resolve)) } : {}),
  };
  const plain = buildConnector(common);
  let secured: { readonly context: SecureContext; readonly connect: buildConnector.connector } | undefined;

  async function connectorFor(protocol: string): Promise<buildConnector.connector> {
    const context = protocol === "https:" ? await contextOf() : undefined;
    if (!context) return plain;
    if (secured?.context !== context)
      secured = { context, connect: buildConnector({ ...common, secureContext: context }) };
    return secured.connect;
  }

  /** Whom to call with what: over a tunnel of the proxy where there is one. */
  async function dial(to: buildConnector.Options): Promise<[buildConnector.connector, buildConnector.Options]> {
    const connect = await connectorFor(to.protocol);
    if (!proxy) return [connect, to];
    const port = Number(to.port || 443);
    return [connect, { ...to, httpSocket: await openTunnel({ proxy, host: to.hostname, port, timeout }) }];
  }

  return (options, callback) => {
    const host = options.hostname.replace(/^\[(.*)\]$/, "$1");
    // An address in the URL itself is never looked up.
    const judged = proxy || isIP(host) !== 0;
    if (guarded && judged && !isPublicName(host)) {
      callback(new AddressDeniedError(options.hostname), null);
      return;
    }
    dial({ ...options, hostname: host }).then(
      ([connect, to]) => connect(to, callback),
      (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), null),
    );
  };
}
