import { upstreamPolicySchema, upstreamsSchema } from "@cache-registry/registry-client/upstream";
import {
  byteSize,
  duration,
  filePath,
  listenSchema,
  logSchema,
  managementSchema,
  section,
  shutdownSchema,
} from "@cache-registry/runtime/config-types";
import { cron } from "@cache-registry/runtime/schedule";
import { blobStoreConfig } from "@cache-registry/storage/blob-store/config";
import { metadataStoreConfig } from "@cache-registry/storage/metadata-store/config";
import { snapshotsConfig } from "@cache-registry/storage/snapshots/config";
import { z } from "zod";
import { replicaConfig } from "./replicas/config.ts";

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host);
}

const authSchema = section({
  htpasswdFile: filePath()
    .optional()
    .describe("bcrypt htpasswd file: who may push and delete; read again when it changes"),
  usernameFile: filePath().optional().describe("file with the name of one user, instead of a htpasswd file"),
  passwordFile: filePath().optional().describe("file with that user's password"),
  anonymousPull: z.boolean().default(true).describe("pulls need no credentials"),
  anonymousPush: z
    .boolean()
    .optional()
    .describe("pushes and deletes need no credentials; default: only when listen.host is loopback"),
});

const gcSchema = section({
  schedule: cron("17 3 * * *").describe(
    "when the full pass runs, cron in UTC; reviews of single manifests and blobs run all the time",
  ),
  grace: duration("1h").describe("how long content that nothing refers to is left alone"),
  untagged: section({
    local: z.enum(["keep", "delete"]).default("keep").describe("what happens to pushed manifests without a tag"),
    after: duration("7d").describe("with `delete`: how long they stay untagged first"),
  }),
});

const scrubSchema = section({
  schedule: cron().optional().describe("when every digest at rest is verified, cron in UTC; default: only when asked"),
  rate: byteSize("32Mi")
    .refine((bytes) => bytes > 0, { error: "expected more than 0" })
    .describe("how much of it is read per second, so that pulls do not wait"),
});

/** Configuration of `cache-registry registry`. */
export const RegistryConfig = section({
  listen: listenSchema({ port: 5000 }),
  management: managementSchema(8081),
  storage: section({
    blobs: blobStoreConfig,
    metadata: metadataStoreConfig,
    snapshots: snapshotsConfig,
    maxSize: byteSize()
      .refine((bytes) => bytes > 0, { error: "expected more than 0 bytes" })
      .optional()
      .describe(
        "Quota for cached content: the least recently used goes above 95 % of it, down to 85 %. Default: 85 % of the volume with the driver filesystem, else none",
      ),
  }),
  replica: replicaConfig
    .optional()
    .describe("With several replicas on one PostgreSQL database: how they reach each other"),
  upstreams: upstreamsSchema,
  upstreamPolicy: upstreamPolicySchema,
  externalNames: z
    .array(z.string().min(1))
    .default([])
    .describe("names under which this registry itself is reached: local, never dialled"),
  airGapped: z.boolean().default(false).describe("never ask an upstream: serve what is held"),
  auth: authSchema,
  delete: section({
    enabled: z.boolean().default(true).describe("tags, manifests and blobs may be deleted by who may push"),
  }),
  push: section({
    requireBlobs: z
      .boolean()
      .default(true)
      .describe("a manifest is refused while its config or a layer is missing; false: sparse images may be pushed"),
  }),
  gc: gcSchema,
  uploads: section({
    idle: duration("24h").describe("upload sessions that nobody continued for so long are given up"),
  }),
  cache: section({ unusedFor: duration("30d").describe("cached, unowned and not pulled for so long: removed") }),
  scrub: scrubSchema,
  plugins: z
    .array(filePath())
    .default([])
    .describe("modules whose default export is a fastify plugin: its hooks see every request of the registry"),
  log: logSchema(),
  shutdown: shutdownSchema(),
}).superRefine((config, context) => {
  if (!isLoopback(config.management.host) && config.management.tokenFile === undefined) {
    context.addIssue({
      code: "custom",
      path: ["management", "tokenFile"],
      message: "a token file is required when management.host is not a loopback address",
    });
  }
  const { blobs, metadata } = config.storage;
  if (config.replica && metadata.driver !== "postgres") {
    const message = "several replicas need storage.metadata.driver postgres";
    context.addIssue({ code: "custom", path: ["replica"], message });
  }
  if (metadata.driver === "postgres" && blobs.driver === "memory") {
    const message = "with the metadata in postgres the bytes must be where every replica finds them: not in memory";
    context.addIssue({ code: "custom", path: ["storage", "blobs", "driver"], message });
  }
  if ((config.auth.usernameFile === undefined) !== (config.auth.passwordFile === undefined)) {
    context.addIssue({
      code: "custom",
      path: ["auth", "passwordFile"],
      message: "usernameFile and passwordFile go together",
    });
  }
});
export type RegistryConfig = z.output<typeof RegistryConfig>;

/** What may change while the process runs: the file is read anew when it does. */
export const HOT_KEYS = [
  "upstreams",
  "upstreamPolicy",
  "externalNames",
  "airGapped",
] as const satisfies readonly (keyof RegistryConfig)[];
