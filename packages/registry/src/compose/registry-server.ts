import { createBufferPool } from "@cache-registry/runtime/buffer-pool";
import { createCertificate } from "@cache-registry/runtime/certificate";
import { type Service, serverService } from "@cache-registry/runtime/lifecycle";
import { createServer } from "@cache-registry/runtime/server";
import { redirectOf } from "@cache-registry/storage/blob-store/redirect";
import { accessDetails } from "../access/outcome.ts";
import { addRoutes, repositoryOf } from "../app.ts";
import { authenticatorsOf } from "../auth/authenticators.ts";
import { createAuthorizer } from "../auth/authorize.ts";
import { isLoopback, type RegistryConfig } from "../config.ts";
import { type Plugin, registerPlugins } from "../plugins.ts";
import { createMountBlob } from "../push/mount-blob.ts";
import type { UploadSessions } from "../push/upload-sessions.ts";
import { blobRoutes } from "../routes/blobs.ts";
import { createCatalog } from "../routes/catalog.ts";
import { manifestRoutes } from "../routes/manifests.ts";
import { referrersRoutes } from "../routes/referrers.ts";
import { tagRoutes } from "../routes/tags.ts";
import { uploadRoutes, uploadsRoutes } from "../routes/uploads.ts";
import { createBlobSender } from "../serving/blob-sender.ts";
import type { Reading } from "./reading.ts";
import type { Process, Stores } from "./stores.ts";

type Parts = {
  readonly stores: Stores;
  readonly reading: Reading;
  readonly uploads: UploadSessions;
  readonly plugins: readonly Plugin[];
};

/** The server of clients, and that of the other replicas where there are some. */
export async function composeServer(
  config: RegistryConfig,
  { stores, reading, uploads, plugins }: Parts,
  { logger, metrics }: Process,
): Promise<Service[]> {
  const { listen } = config;
  const { blobs, metadata, digestLock, storeManifest, replication } = stores;
  const { readManifest, readBlob, readReferrers, sources } = reading;
  const { targets } = reading.live;
  const certificate = listen.tls && (await createCertificate({ ...listen.tls, name: "registry", logger, metrics }));
  const server = createServer({
    ...{ name: "registry", logger, metrics, accessDetails },
    accessLog: config.log.access,
    ...(certificate ? { certificate } : {}),
  });
  await registerPlugins(server, plugins);

  const pool = createBufferPool({ metrics });
  const deleteEnabled = config.delete.enabled;
  const resolveName = (path: string) => repositoryOf(targets.resolve({ path }));
  const mount = createMountBlob({ blobs, metadata, digestLock });
  const uploadDeps = { metadata, uploads, mount, resolveName };
  const peers = await replication.serve({
    ...{ blobs: sources.blobs, resolveName, pool },
    uploads: uploadRoutes(uploadDeps),
  });
  addRoutes({
    server,
    targets,
    authorizer: createAuthorizer({
      authenticators: authenticatorsOf(config.auth, logger),
      anonymousPull: config.auth.anonymousPull,
      anonymousPush: config.auth.anonymousPush ?? isLoopback(listen.host),
    }),
    routes: {
      manifest: manifestRoutes({
        ...{ metadata, readManifest, storeManifest, deleteEnabled },
        requireBlobs: config.push.requireBlobs,
        firstByte: (outcome, seconds) => reading.metrics.firstByte("manifest", outcome, seconds),
      }),
      blob: blobRoutes({
        ...{ metadata, readBlob, deleteEnabled },
        send: createBlobSender({ pool, metrics: reading.metrics, logger }),
        redirectUrl: redirectOf(config.storage.blobs.redirect, blobs),
      }),
      uploads: uploadsRoutes(uploadDeps),
      upload: peers.uploads,
      tags: tagRoutes({ metadata }),
      referrers: referrersRoutes({ readReferrers }),
      catalog: createCatalog({ metadata }),
    },
  });
  return [...peers.services, serverService({ name: "registry", server, listen })];
}
