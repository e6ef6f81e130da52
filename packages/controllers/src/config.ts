import { DEFAULT_ENDPOINT, PROXY_TAINT } from "@cache-registry/core/labels";
import { parsePlatform, printPlatform } from "@cache-registry/core/platform";
import {
  duration,
  filePath,
  httpUrl,
  logSchema,
  managementSchema,
  privateImagesSchema,
  registryName,
  section,
  shutdownSchema,
} from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { certificatesSchema } from "./certificates/config.ts";

const PLATFORMS_HINT = "auto, or a list of platforms such as linux/amd64 or linux/arm/v7";

const platform = z.string().transform((text, context) => {
  const parsed = parsePlatform(text);
  if (parsed !== undefined) return printPlatform(parsed);
  context.issues.push({ code: "custom", input: text, message: `expected ${PLATFORMS_HINT}` });
  return z.NEVER;
});

const tokenSecret = z.strictObject({
  name: z.string().min(1).max(253).describe("Name of the Secret, in the controllers' own namespace"),
  key: z.string().min(1).default("token").describe("Key of the token in the Secret"),
});

const caSecret = z.strictObject({
  name: z.string().min(1).max(253).describe("Name of the Secret, in the controllers' own namespace"),
  key: z.string().min(1).default("ca.crt").describe("Key of the certificate authorities in the Secret, PEM"),
});

const registry = z
  .strictObject({
    url: httpUrl().describe("Management address of the registry"),
    tokenFile: filePath().optional().describe("File with the token of the registry's management API"),
    tokenSecret: tokenSecret
      .optional()
      .describe(
        "Secret that holds the token of the registry's management API; created with a random token when missing",
      ),
    replicasHost: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe(
        "Name that resolves to every replica of the registry, such as a headless Service: each is lent the credentials of private images",
      ),
    caFile: filePath()
      .optional()
      .describe(
        "Certificate authorities of the registry's management address, PEM; read again when it changes, and may come later than the process",
      ),
    caSecret: caSecret
      .optional()
      .describe("Instead of caFile: Secret with them, as these controllers make it under `certificates`"),
  })
  .refine((value) => value.caFile === undefined || value.caSecret === undefined, {
    error: "set registry.caFile or registry.caSecret, not both",
  })
  .refine((value) => value.tokenFile === undefined || value.tokenSecret === undefined, {
    error: "set registry.tokenFile or registry.tokenSecret, not both",
  });

/** `cachedImagesExpiryDelay: 30` of the ancestor chart meant days. */
const expiryDelay = z
  .preprocess((value) => (typeof value === "number" && value > 0 ? `${value}d` : value), duration())
  .prefault("30d");

const objectName = (what: string) => z.string().min(1).max(253).optional().describe(`${what}, in our own namespace`);

const health = section({
  registryUnready: duration("60s").describe("The cache is unhealthy when the registry has not been ready for so long"),
  proxiesUnready: z
    .number()
    .min(0)
    .max(100)
    .default(10)
    .describe("…or when proxies are not ready on more than this percentage of the Ready nodes, and on more than one"),
  recovered: duration("30s").describe("Healthy again when nothing was wrong for so long"),
});

const loops = section({
  recreations: z
    .int()
    .min(2)
    .max(100)
    .default(5)
    .describe("A rewritten pod, made again so many times in a row and deleted young each time, is a loop"),
  within: duration("10m").describe("…when all that happened within this time"),
  leaveAloneFor: duration("24h").describe(
    "How long the pods of the owner are then not rewritten; after that it is tried again",
  ),
});

const nodeTaint = section({
  enabled: z.boolean().default(false).describe("Remove the taint from nodes whose proxy is ready"),
  key: z
    .string()
    .regex(/^([a-z0-9.-]+\/)?[A-Za-z0-9._-]{1,63}$/, { error: "expected a taint key such as example.com/name" })
    .default(PROXY_TAINT)
    .describe("Key of the taint with which nodes register"),
});

const Shape = z.strictObject({
  mode: z
    .enum(["rewrite", "mirror"])
    .default("rewrite")
    .describe(
      "How pulls reach the cache: rewrite records images under `endpoint`, mirror all but those of pods with pull secrets",
    ),
  endpoint: z.string().min(1).default(DEFAULT_ENDPOINT).describe("Where every node serves the cache"),
  registry,
  registries: z
    .array(registryName())
    .prefault([])
    .describe(
      "Upstreams that the registry lists: a name without a dot below the endpoint, such as harbor_5000, is one only when listed",
    ),
  expiryDelay: expiryDelay.describe("How long an unused image is kept; a plain number is days"),
  platforms: z
    .union([z.literal("auto"), z.array(platform).min(1)], { error: `expected ${PLATFORMS_HINT}` })
    .prefault("auto")
    .describe("Platforms to keep warm where a CachedImage names none; auto: those of the cluster's Linux nodes")
    .meta({ allowed: PLATFORMS_HINT }),
  privateImages: privateImagesSchema().describe(
    "Private images: `share` reads the pull secrets of pods in those namespaces and hands them to the registry, over https only",
  ),
  revisionsKept: z
    .int()
    .min(0)
    .max(100)
    .default(2)
    .describe("Newest ReplicaSets per Deployment that count as use, also at zero"),
  owner: z
    .string()
    .regex(/^[A-Za-z0-9._:-]{1,128}$/, { error: "expected 1 to 128 characters of A-Z a-z 0-9 . _ : -" })
    .optional()
    .describe(
      "Name of this cluster in the registry's references and pins; default: the UID of the namespace kube-system",
    ),
  certificates: certificatesSchema,
  health,
  loops,
  proxy: section({
    daemonSet: objectName("DaemonSet of the proxies; unset: they are not looked at"),
    namespace: z.string().min(1).max(63).optional().describe("Where that DaemonSet is; default: our own namespace"),
  }),
  clusterState: section({
    configMap: objectName("ConfigMap in which health and loops are published for the webhook; unset: nowhere"),
  }),
  nodeTaint,
  leaderElection: section({
    enabled: z.boolean().default(true).describe("One of several replicas works at a time"),
    name: z.string().min(1).max(253).default("cache-registry-controllers").describe("Name of the Lease"),
  }),
  management: managementSchema(8083),
  log: logSchema(),
  shutdown: shutdownSchema(),
});
// Without the proxies nothing would ever remove the taint, and no pod would start.
export const ControllersConfig = Shape.refine(
  ({ nodeTaint, proxy }) => !nodeTaint.enabled || proxy.daemonSet !== undefined,
  {
    path: ["proxy", "daemonSet"],
    error: "required with nodeTaint.enabled: the DaemonSet whose pods tell that a node's proxy is ready",
  },
);
export type ControllersConfig = z.output<typeof ControllersConfig>;
