import type { Readable } from "node:stream";
import { MANIFEST_ACCEPT } from "@cache-registry/core/media-type";
import type { Environment } from "@cache-registry/runtime/cloud-identity/cloud-request";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createAuthorizer } from "./authorizer.ts";
import { readBlobRange } from "./blob-answer.ts";
import { createBlobStream } from "./blob-stream.ts";
import { discard, headerOf } from "./body.ts";
import { createBrokenBodies } from "./broken-bodies.ts";
import { createClientMetrics } from "./client-metrics.ts";
import type { Resolve } from "./connector.ts";
import { parseContentLength } from "./content-range.ts";
import { createExchange } from "./exchange.ts";
import { failureOf } from "./failure.ts";
import type { ProxyFor } from "./forward-proxy/forward-proxy.ts";
import { createListReferrers } from "./list-referrers.ts";
import { type ManifestHead, readManifest, readManifestHead, type UpstreamManifest } from "./manifest-answer.ts";
import type { ManifestRequest, Question, ReferrersRequest, RepositoryRequest } from "./question.ts";
import { createRecentMap } from "./recent-map.ts";
import type { UpstreamReferrer } from "./referrers.ts";
import { tryEndpoints } from "./retry.ts";
import { createTokenSource } from "./token.ts";
import { createTraffic, type Traffic } from "./traffic/traffic.ts";
import { createTransport } from "./transport.ts";
import { findUpstream, isListed, type Upstream, type UpstreamPolicy } from "./upstream.ts";
import { isUpstreamError, UpstreamError } from "./upstream-error.ts";
import { createUpstreamLabels } from "./upstream-label.ts";

export type { ManifestHead, UpstreamManifest } from "./manifest-answer.ts";
export type { ManifestRequest } from "./question.ts";

export type BlobRequest = RepositoryRequest & { readonly digest: string };
export type BlobRangeRequest = BlobRequest & {
  /** First byte wanted; 0 when missing. */
  readonly offset?: number | undefined;
};

export type UpstreamBlob = {
  /** Where the stream really starts: 0 when the upstream ignored the range; read past then. */
  readonly offset: number;
  /** Bytes of the whole blob, when told. */
  readonly size: number | undefined;
  /** Not verified. Fails with an UpstreamError; destroy it to stop. */
  readonly stream: Readable;
};

/** The reading side of the distribution spec. All throw UpstreamError, or the signal's reason when the caller aborted. */
export type UpstreamClient = {
  headManifest(request: ManifestRequest): Promise<ManifestHead>;
  getManifest(request: ManifestRequest): Promise<UpstreamManifest>;
  /** All manifests that refer to the subject, by digest: from the API, or from the tag where clients keep them without it. */
  referrers(request: ReferrersRequest): Promise<UpstreamReferrer[]>;
  headBlob(request: BlobRequest): Promise<{ readonly size: number | undefined }>;
  getBlob(request: BlobRangeRequest): Promise<UpstreamBlob>;
  /** Cuts what is still running. */
  close(): Promise<void>;
};

export type UpstreamClientOptions = {
  readonly upstreams: readonly Upstream[];
  readonly policy: UpstreamPolicy;
  /** Refuse every question. */
  readonly airGapped?: boolean;
  readonly metrics?: Metrics;
  /** Limits, and what is known of the upstreams' own; shared by the clients that follow one another. */
  readonly traffic?: Traffic;
  readonly logger: Logger;
  /** The proxy on the way, where an upstream has none of its own. */
  readonly proxyFor?: ProxyFor | undefined;
  readonly userAgent?: string;
  /** For tests: as `dns.lookup`. */
  readonly resolve?: Resolve;
  /** For tests: where clouds' credentials are looked for. */
  readonly env?: Environment;
};

const MAX_UNLISTED = 256;

export function createUpstreamClient(options: UpstreamClientOptions): UpstreamClient {
  const { upstreams, policy, airGapped = false, logger, userAgent = "cache-registry", resolve } = options;
  const transport = createTransport({ upstreams, policy, resolve, proxyFor: options.proxyFor });
  const authorizer = createAuthorizer({
    tokens: createTokenSource({ transport, logger }),
    transport,
    logger,
    env: options.env,
    proxyFor: options.proxyFor,
  });
  const isKnown = (registry: string): boolean => isListed(upstreams, registry);
  const { traffic = createTraffic({ metrics: options.metrics, logger, isListed: isKnown }) } = options;
  const exchange = createExchange({ transport, authorizer, traffic, logger });
  const metrics = createClientMetrics(options.metrics);
  const known = new Map(upstreams.map(({ registry }) => [registry, findUpstream(upstreams, registry)]));
  const brokenBodies = createBrokenBodies();
  const unlisted = createRecentMap<string, Upstream>(MAX_UNLISTED);
  const labelOf = createUpstreamLabels((registry) => known.has(registry));

  function upstreamOf(registry: string): Upstream {
    const denied = airGapped
      ? "this cache asks no upstream (airGapped)"
      : policy === "listed" && !isListed(upstreams, registry)
        ? "is not among the listed upstreams (upstreamPolicy)"
        : undefined;
    if (denied !== undefined) throw new UpstreamError(denied, { kind: "denied-by-policy", registry });
    const upstream = known.get(registry) ?? unlisted.get(registry) ?? findUpstream(upstreams, registry);
    if (!known.has(registry)) unlisted.set(registry, upstream);
    return upstream;
  }

  async function askEndpoint<Value>(question: Question<Value>, upstream: Upstream, endpoint: URL): Promise<Value> {
    const { registry, repository, kind, resource, method, authorization, signal, priority } = question;
    const label = labelOf(registry);
    const visit = traffic.enter({ upstream, endpoint, resource: kind, authorization });
    const asked = performance.now();
    try {
      const response = await exchange.ask({
        upstream,
        endpoint,
        repository,
        resource,
        method,
        headers: { "accept-encoding": "identity", "user-agent": userAgent, ...question.headers },
        authorization,
        signal,
        priority,
      });
      metrics.waited(label, kind, (performance.now() - asked) / 1000);
      const value = await question.read(response, { timeouts: upstream.timeouts, endpoint });
      metrics.answered(label, kind, "ok");
      visit.succeeded();
      return value;
    } catch (error) {
      if (signal?.aborted) visit.abandoned();
      signal?.throwIfAborted();
      const failure = failureOf(error, registry);
      visit.failed(failure);
      metrics.answered(label, kind, failure.kind);
      throw failure;
    }
  }

  async function ask<Value>(question: Question<Value>): Promise<Value> {
    const upstream = upstreamOf(question.registry);
    const endpoints = brokenBodies.last(upstream.endpoints, question);
    return tryEndpoints({
      endpoints,
      // Who had it and broke off may still have it when the others do not.
      untilLast: endpoints !== upstream.endpoints,
      task: (endpoint) => askEndpoint(question, upstream, endpoint),
      signal: question.signal,
      onFailure: (endpoint, err) =>
        logger.debug(
          { upstream: question.registry, endpoint: endpoint.origin, kind: err.kind, err },
          "upstream failed",
        ),
    });
  }

  const accept = { accept: MANIFEST_ACCEPT.join(", ") };

  async function headManifest(request: ManifestRequest): Promise<ManifestHead> {
    const { registry, reference } = request;
    try {
      return await ask({
        ...request,
        kind: "manifest",
        resource: `manifests/${reference}`,
        method: "HEAD",
        headers: accept,
        read: async (response) => readManifestHead(response, registry),
      });
    } catch (error) {
      if (!isHeadRefused(error)) throw error;
      return { digest: undefined, mediaType: "", size: undefined, headers: {} };
    }
  }

  async function getManifest(request: ManifestRequest): Promise<UpstreamManifest> {
    const { registry, reference } = request;
    const manifest = await ask({
      ...request,
      kind: "manifest",
      resource: `manifests/${reference}`,
      method: "GET",
      headers: accept,
      read: async (response, { timeouts }) => readManifest(response, registry, { reference, timeout: timeouts.idle }),
    });
    metrics.received(labelOf(registry), manifest.bytes.length);
    return manifest;
  }

  const referrers = createListReferrers({ ask, getManifest });

  async function headBlob(request: BlobRequest): Promise<{ size: number | undefined }> {
    const question = { ...request, kind: "blob", resource: `blobs/${request.digest}` } as const;
    try {
      return await ask({
        ...question,
        method: "HEAD",
        read: async ({ headers }) => ({ size: parseContentLength(headerOf(headers, "content-length")) }),
      });
    } catch (error) {
      if (!isHeadRefused(error)) throw error;
    }
    return ask({
      ...question,
      method: "GET",
      headers: { range: "bytes=0-0" },
      async read(response) {
        const { size } = await readBlobRange(response, 0, request.registry);
        await discard(response);
        return { size };
      },
    });
  }

  async function getBlob(request: BlobRangeRequest): Promise<UpstreamBlob> {
    const { registry, repository, digest, offset = 0, signal, priority } = request;
    const resource = `blobs/${digest}`;
    const upstream = upstreamOf(registry);
    const release = await traffic.slots(upstream).acquire({ signal, priority });
    try {
      return await ask({
        ...request,
        kind: "blob",
        resource,
        method: "GET",
        headers: offset > 0 ? { range: `bytes=${offset}-` } : {},
        read: async (response, { endpoint }) => {
          const { start, size } = await readBlobRange(response, offset, registry);
          const onBytes = (count: number): void => metrics.received(labelOf(registry), count);
          const stream = createBlobStream(response.body, {
            registry,
            offset: start,
            size,
            signal,
            onBytes,
            onEnd: release,
            onBroken: () => brokenBodies.note(endpoint, { registry, repository, resource }),
          });
          return { offset: start, size, stream };
        },
      });
    } catch (error) {
      release();
      throw error;
    }
  }

  return { headManifest, getManifest, referrers, headBlob, getBlob, close: () => transport.close() };
}

/** The upstream does not know the method (RFC 9110 §15.5.6, §15.6.2): what it would say has to be asked for with GET. */
function isHeadRefused(error: unknown): boolean {
  return isUpstreamError(error) && (error.status === 405 || error.status === 501);
}
