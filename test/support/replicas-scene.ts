import { afterAll, beforeAll } from "vitest";
import { type PostgresServer, startPostgresServer } from "./postgres-server.ts";
import type { RegistryApi } from "./registry-api.ts";
import type { RegistryProcess } from "./registry-process.ts";
import { type Replicas, startReplicas } from "./replicas.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { startUpstreamRegistry, type UpstreamRegistry } from "./upstream-registry.ts";

/** Replicas on PostgreSQL and S3 before an upstream, for a test file. */
export type ReplicasScene = {
  readonly upstream: UpstreamRegistry;
  readonly postgres: PostgresServer;
  readonly s3: S3Server;
  readonly replicas: Replicas;
  readonly registry: (index: number) => RegistryProcess;
  readonly api: (index: number) => RegistryApi;
};

export type ReplicasSceneOptions = {
  readonly count: number;
  /** Of the bucket. */
  readonly folder: string;
  readonly configuration?: object;
};

export function useReplicas({ count, folder, configuration }: ReplicasSceneOptions): ReplicasScene {
  let s3: S3Server;
  let postgres: PostgresServer;
  let upstream: UpstreamRegistry;
  let replicas: Replicas;

  beforeAll(async () => {
    [s3, postgres, upstream] = await Promise.all([startS3Server(), startPostgresServer(), startUpstreamRegistry()]);
    replicas = await startReplicas({
      count,
      database: await postgres.database(),
      storage: s3.storage(folder),
      configuration: { ...upstream.configuration(), ...configuration },
    });
  });
  afterAll(async () => {
    await replicas?.dispose();
    await Promise.all([upstream?.dispose(), postgres?.dispose(), s3?.dispose()]);
  });

  return {
    get upstream() {
      return upstream;
    },
    get postgres() {
      return postgres;
    },
    get s3() {
      return s3;
    },
    get replicas() {
      return replicas;
    },
    registry: (index) => replicas.at(index).registry,
    api: (index) => replicas.at(index).api,
  };
}
