import { describe, expect, it } from "vitest";
import { expectRefusal, type Guard, registry } from "./guard.ts";
import { render } from "./helm.ts";

const HTPASSWD = { enabled: true, existingSecret: "users" };
const USER = { enabled: true, username: "a", password: "b" };
const S3 = { driver: "s3", s3: { bucket: "images" } };
const POSTGRES = { driver: "postgres", postgres: { existingSecret: "database" } };

const STORAGE: readonly Guard[] = [
  [
    "replicas on SQLite",
    registry({ replicas: 2 }),
    ["registry.replicas is 2", "SQLite has one writer", "postgres", "s3, gcs or azure"],
  ],
  [
    "replicas on an emptyDir",
    registry({ replicas: 2, storage: { metadata: POSTGRES } }),
    ["registry.replicas is 2", "emptyDir of its own", "registry.storage.blobs.driver", "ReadWriteMany"],
  ],
  [
    "replicas on a volume with one writer",
    registry({ replicas: 2, storage: { metadata: POSTGRES }, persistence: { enabled: true } }),
    ["registry.replicas is 2", "the volume has one writer", "registry.persistence.accessModes to [ReadWriteMany]"],
  ],
  [
    "replicas on a node's folder",
    registry({ replicas: 2, storage: { metadata: POSTGRES }, persistence: { enabled: true, hostPath: "/srv" } }),
    ["registry.persistence.hostPath is one node's"],
  ],
  [
    "autoscaling on SQLite",
    registry({ hpa: { enabled: true } }),
    ["registry.hpa.enabled is true", "SQLite has one writer"],
  ],
  [
    "a rolling update of one writer",
    registry({ updateStrategy: { type: "RollingUpdate" } }),
    ["registry.updateStrategy.type can only be Recreate"],
  ],
  [
    "a cache in memory that the pod may not have",
    registry({ emptyDir: { medium: "Memory" } }),
    ["registry.emptyDir.sizeLimit 2Gi", "registry.resources.limits.memory 512Mi", "killed again and again"],
  ],
  ["S3 without a bucket", registry({ storage: { blobs: { driver: "s3" } } }), ["registry.storage.blobs.s3.bucket"]],
  ["GCS without a bucket", registry({ storage: { blobs: { driver: "gcs" } } }), ["registry.storage.blobs.gcs.bucket"]],
  [
    "Azure without a container",
    registry({ storage: { blobs: { driver: "azure", azure: { account: "images1" } } } }),
    ["registry.storage.blobs.azure.account and registry.storage.blobs.azure.container"],
  ],
  [
    "PostgreSQL without its URL",
    registry({ storage: { metadata: { driver: "postgres" } } }),
    ["registry.storage.metadata.postgres.existingSecret"],
  ],
  [
    "presigned redirects of a file system",
    registry({ storage: { blobs: { redirect: "presigned" } } }),
    ["needs an object store", "the driver to s3, gcs or azure, or redirect"],
  ],
  [
    "presigned redirects without Azure's key",
    registry({
      storage: { blobs: { driver: "azure", azure: { account: "images1", container: "oci" }, redirect: "presigned" } },
    }),
    ["registry.storage.blobs.azure.existingSecret"],
  ],
  ["memory without a limit", registry({ storage: { blobs: { driver: "memory" } } }), ["registry.storage.maxSize"]],
  [
    "memory beside what lasts",
    registry({ storage: { blobs: { driver: "memory" }, maxSize: "1Mi" }, persistence: { enabled: true } }),
    ["registry.persistence.enabled to false"],
  ],
  [
    "a block device",
    registry({ persistence: { enabled: true, volumeMode: "Block" } }),
    ["registry.persistence.volumeMode is Block", "set it to Filesystem"],
  ],
  [
    "a folder of the node and a claim",
    registry({ persistence: { enabled: true, hostPath: "/srv", existingClaim: "mine" } }),
    ["registry.persistence.hostPath and registry.persistence.existingClaim", "set one of them"],
  ],
  [
    "a folder of the node without persistence",
    registry({ persistence: { hostPath: "/srv" } }),
    ["registry.persistence.hostPath is set", "set registry.persistence.enabled"],
  ],
  [
    "a volume that nothing needs",
    registry({ storage: { blobs: S3, metadata: POSTGRES }, persistence: { enabled: true } }),
    ["nothing needs registry.persistence", "registry.persistence.enabled to false"],
  ],
];

const PUSHES: readonly Guard[] = [
  [
    "on an emptyDir",
    registry({ auth: { htpasswd: HTPASSWD } }),
    ["registry.persistence.enabled", "registry.ephemeralPushes"],
  ],
  [
    "in memory",
    registry({ auth: { htpasswd: USER }, storage: { blobs: { driver: "memory" }, maxSize: "1Mi" } }),
    ["registry.persistence.enabled", "registry.ephemeralPushes"],
  ],
  [
    "to S3, with their database on an emptyDir",
    registry({ auth: { htpasswd: HTPASSWD }, storage: { blobs: S3 } }),
    ["SQLite database", "registry.storage.metadata.driver to postgres", "registry.ephemeralPushes"],
  ],
  [
    "without users",
    registry({ auth: { htpasswd: { enabled: true } }, persistence: { enabled: true } }),
    ["registry.auth.htpasswd.existingSecret", "registry.auth.htpasswd.username and registry.auth.htpasswd.password"],
  ],
  [
    "with half a user",
    registry({ auth: { htpasswd: { enabled: true, username: "a" } }, persistence: { enabled: true } }),
    ["registry.auth.htpasswd.password"],
  ],
  [
    "with users in two places",
    registry({ auth: { htpasswd: { ...USER, existingSecret: "users" } }, persistence: { enabled: true } }),
    ["remove registry.auth.htpasswd.username"],
  ],
];

describe("storage: a sentence says what to change about", () => {
  it.each(STORAGE)("%s", async (_, values, words) => expectRefusal(values, words));
});

it("a cache in memory that the pod may have is accepted", async () => {
  const volume = { medium: "Memory", sizeLimit: "4Gi" };
  const manifests = await render({ values: registry({ emptyDir: volume, resources: { limits: { memory: "5G" } } }) });
  expect(manifests.pod("registry").volumes.find(({ name }) => name === "data")?.emptyDir).toEqual(volume);
  await render({ values: registry({ emptyDir: volume, resources: null }) });
});

describe("pushes: a sentence says what to change about them", () => {
  it.each(PUSHES)("%s", async (_, values, words) => expectRefusal(values, words));
});
