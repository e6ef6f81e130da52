import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../hack/cluster/free-port.ts";
import { type Balancer, startBalancer } from "./balancer.ts";
import { createRegistryApi, type RegistryApi } from "./registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "./registry-process.ts";

export type Replica = { readonly registry: RegistryProcess; readonly api: RegistryApi };

export type Replicas = {
  /** @throws Error when there are not so many */
  at(index: number): Replica;
  readonly all: readonly Replica[];
  /** In front of all. */
  readonly balancer: Balancer;
  /** Through the balancer: another replica for each request. */
  readonly any: RegistryApi;
  dispose(): Promise<void>;
};

export type ReplicasOptions = {
  readonly count: number;
  /** `postgres://…` */
  readonly database: string;
  readonly storage: object;
  readonly configuration?: object;
};

/** Registry processes on one database and one blob store, that reach each other, behind one address. */
export async function startReplicas(options: ReplicasOptions): Promise<Replicas> {
  const { count, database, storage, configuration } = options;
  const directory = await mkdtemp(join(tmpdir(), "creg-replicas-"));
  const tokenFile = join(directory, "token");
  await writeFile(tokenFile, "the secret of the replicas");
  const ports: number[] = [];
  for (let index = 0; index < count; index += 1) ports.push(await freePort());
  const registries = await Promise.all(
    ports.map((port) =>
      startRegistryProcess({
        ...configuration,
        storage: { ...storage, metadata: { driver: "postgres", postgres: { url: database } } },
        replica: { address: `http://127.0.0.1:${port}`, listen: { host: "127.0.0.1", port }, tokenFile },
      }),
    ),
  );
  const balancer = await startBalancer(registries.map(({ url }) => url));
  const all = registries.map((registry) => ({ registry, api: patient(createRegistryApi(registry.url)) }));
  return {
    all,
    at(index) {
      const replica = all[index];
      if (!replica) throw new Error(`there is no replica ${index}`);
      return replica;
    },
    balancer,
    any: patient(createRegistryApi(balancer.url, { connection: "close" })),
    async dispose() {
      await balancer.close();
      await Promise.all(registries.map((registry) => registry.dispose()));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * Images are pushed as clients push them. A machine that stalls for half a second looks to a replica like a database that is
 * gone: it answers 503 with Retry-After, which is right, and not what a test that only needs content there is about.
 */
function patient(api: RegistryApi): RegistryApi {
  return { ...api, pushImage: (...args) => untilAvailable(() => api.pushImage(...args)) };
}

/** As clients do: a 503 is tried again, a few times. */
async function untilAvailable<Result>(task: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await task();
    } catch (error) {
      if (attempt === 5 || !(error instanceof Error) || !error.message.includes("answered 503")) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** @throws Error unless every byte of the image is there */
export async function requireImage(
  api: RegistryApi,
  repository: string,
  {
    manifest,
    blobs,
  }: { manifest: { digest: string; bytes: Buffer }; blobs: readonly { digest: string; bytes: Buffer }[] },
): Promise<void> {
  const found = await api.get(`${repository}/manifests/${manifest.digest}`);
  if (!found.equals(manifest.bytes)) throw new Error(`${repository}: wrong bytes of the manifest`);
  for (const { digest, bytes } of blobs) {
    const blob = await api.get(`${repository}/blobs/${digest}`);
    if (!blob.equals(bytes)) throw new Error(`${repository}: wrong bytes of ${digest}`);
  }
}
