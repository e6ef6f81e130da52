import { readFileSync } from "node:fs";
import type { UpstreamClient } from "@cache-registry/registry-client/client";
import type { BufferPool } from "@cache-registry/runtime/buffer-pool";
import { createCertificate } from "@cache-registry/runtime/certificate";
import { type Service, serverService } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { createServer } from "@cache-registry/runtime/server";
import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import { createDigestLock, type DigestLock } from "@cache-registry/storage/blob-store/digest-lock";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { RegistryConfig } from "../config.ts";
import type { Repository } from "../content/repository.ts";
import type { BlobSource } from "../pull-through/blob-source.ts";
import { ALONE, createLeadership, type Leadership } from "../replicas/leadership.ts";
import { createLeases, type Leases, REPLICAS } from "../replicas/leases.ts";
import { removeLeftovers } from "../replicas/leftovers.ts";
import { addPeerRoutes } from "../replicas/peer-routes.ts";
import { createPeers } from "../replicas/peers.ts";
import { createShareFetch, type ShareFetch } from "../replicas/shared-fetch.ts";
import { createTogether, type Together } from "../replicas/together.ts";
import { createUploadOwners, forwardingUploadRoutes, type UploadOwners } from "../replicas/upload-owner.ts";
import { createWarming, type Warming } from "../replicas/warming.ts";
import type { Methods } from "../routes/exchange.ts";
import type { UploadEndpoint } from "../routes/uploads.ts";

/** What of the wiring differs between one replica and many. */
export type Replication = {
  /** Of this process among those that share the blob store; undefined for one alone. */
  readonly id: string | undefined;
  readonly digestLock: DigestLock;
  readonly uploadOwners: UploadOwners | undefined;
  /** How cold blobs are fetched together; undefined: each replica for itself. */
  shareFetch(deps: {
    readonly metadata: MetadataStore;
    readonly blobs: BlobStore;
    readonly client: UpstreamClient;
  }): ShareFetch | undefined;
  /** How small questions are asked once; undefined: each replica for itself. */
  readonly together: Together | undefined;
  /** Which images others warm; undefined: there are no others. */
  readonly warming: Warming | undefined;
  /** Which replica collects. */
  leadership(blobs: BlobStore): Leadership;
  /** The endpoints of upload sessions for clients, given those for the sessions of this replica; and the server for the others. */
  serve(peer: PeerDeps): Promise<{ readonly uploads: Methods<UploadEndpoint>; readonly services: readonly Service[] }>;
  /** When the youngest replica started; undefined: this one. */
  startedAt(): Promise<Date | undefined>;
  /** After the metadata store, before the blob store. */
  readonly services: readonly Service[];
};

export type PeerDeps = {
  readonly blobs: BlobSource;
  readonly uploads: Methods<UploadEndpoint>;
  readonly resolveName: (name: string) => Repository;
  readonly pool: BufferPool;
};

type Deps = { readonly logger: Logger; readonly metrics: Metrics };

function alone(): Replication {
  return {
    id: undefined,
    digestLock: createDigestLock(),
    uploadOwners: undefined,
    shareFetch: () => undefined,
    together: undefined,
    warming: undefined,
    leadership: () => ALONE,
    serve: async ({ uploads }) => ({ uploads, services: [] }),
    startedAt: async () => undefined,
    services: [],
  };
}

/** SQLite: one replica, which asks nobody. PostgreSQL: as many as there are; with `replica` they also reach each other. */
export async function composeReplicas(config: RegistryConfig, deps: Deps): Promise<Replication> {
  const { metadata } = config.storage;
  if (metadata.driver !== "postgres") return alone();
  const { logger } = deps;
  const { createPostgresSession } = await import("@cache-registry/storage/lease-store/postgres-session");
  const { createPostgresLeaseStore } = await import("@cache-registry/storage/lease-store/postgres");
  const { createPostgresDigestLock } = await import("@cache-registry/storage/blob-store/postgres-digest-lock");
  const { readConnectionConfig } = await import("@cache-registry/storage/metadata-store/postgres/connection-url");
  const session = createPostgresSession({ config: () => readConnectionConfig(metadata.postgres ?? {}), logger });
  const address = config.replica?.address ?? null;
  const leases = createLeases({ store: createPostgresLeaseStore(session), address, logger });
  return {
    id: leases.id,
    digestLock: createPostgresDigestLock(session),
    together: createTogether(leases),
    warming: createWarming(leases),
    leadership(blobs) {
      const onElected = (signal: AbortSignal) => removeLeftovers({ leases, blobs, logger }, signal);
      const leadership = createLeadership({ leases, logger, onElected });
      deps.metrics.gauge({
        name: "leader",
        help: "1 at the replica that collects",
        collect: (gauge) => gauge.set(leadership.leads() ? 1 : 0),
      });
      return leadership;
    },
    startedAt: () => youngest(leases),
    services: [
      { name: "leases and locks", stop: () => session.close() },
      { name: "replica", start: () => leases.start(), stop: () => leases.stop() },
    ],
    ...composePeers(config, leases, deps),
  };
}

function composePeers(
  { replica }: RegistryConfig,
  leases: Leases,
  { logger, metrics }: Deps,
): Pick<Replication, "uploadOwners" | "shareFetch" | "serve"> {
  const uploadOwners = createUploadOwners(leases);
  if (!replica) {
    logger.info("`replica` is not set: replicas do not reach each other's upload sessions and fetches");
    const serve: Replication["serve"] = async ({ uploads }) => ({
      uploads: forwardingUploadRoutes(uploads, { owners: uploadOwners, peers: undefined, logger }),
      services: [],
    });
    return { uploadOwners, shareFetch: () => undefined, serve };
  }
  const { listen, tokenFile, caFile } = replica;
  const token = createSecretFile(tokenFile);
  const peers = createPeers({ token, ca: caFile === undefined ? undefined : readFileSync(caFile, "utf8") });
  return {
    uploadOwners,
    shareFetch: ({ client, ...stores }) =>
      createShareFetch({
        ...stores,
        leases,
        peers,
        vouch: async ({ upstream: registry, path: repository }, digest) =>
          void (await client.headBlob({ registry, repository, digest })),
        logger,
      }),
    async serve(peer) {
      const certificate = listen.tls && (await createCertificate({ ...listen.tls, name: "replica", logger, metrics }));
      const server = createServer({ logger, name: "replica", metrics, accessLog: false, certificate });
      addPeerRoutes(server, { ...peer, id: leases.id, token, logger });
      return {
        uploads: forwardingUploadRoutes(peer.uploads, { owners: uploadOwners, peers, logger }),
        services: [
          { name: "peers", stop: () => peers.close() },
          serverService({ name: "replica server", server, listen }),
        ],
      };
    },
  };
}

async function youngest(leases: Leases): Promise<Date | undefined> {
  const replicas = await leases.list(REPLICAS);
  return replicas.length === 0 ? undefined : new Date(Math.max(...replicas.map(({ since }) => since)));
}
