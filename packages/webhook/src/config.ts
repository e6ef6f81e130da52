import { DEFAULT_ENDPOINT } from "@cache-registry/core/labels";
import {
  filePath,
  listenSchema,
  logSchema,
  managementSchema,
  privateImagesSchema,
  registryName,
  section,
  shutdownSchema,
} from "@cache-registry/runtime/config-types";
import { z } from "zod";
import { isImagePattern, isImagePrefix } from "./eligibility/image-pattern.ts";

const PATTERN_HINT =
  "a registry such as gcr.io or *.gcr.io, or registry/repository such as docker.io/library/*, without a tag; * stands for any text";

const PREFIX_HINT = "a registry such as ghcr.io, or one with the beginning of repositories such as ghcr.io/team";

function patterns(defaults: readonly string[]) {
  const pattern = z.string().refine(isImagePattern, { error: `expected ${PATTERN_HINT}` });
  return z
    .array(pattern)
    .default([...defaults])
    .meta({ allowed: `a list, each ${PATTERN_HINT}` });
}

const OWNER_HINT = 'a list, each <API group>/<Kind> ("v1" for the core group) such as apps/ReplicaSet, or "none"';

const ownerKind = z.string().regex(/^(?:none|[a-z0-9.-]+\/[A-Z][A-Za-z0-9]*)$/, {
  error: "expected <API group>/<Kind> such as apps/ReplicaSet, or none",
});

/** What the kubelet's credential providers of the clouds are asked for, as their documents configure them. */
const NODE_CREDENTIALS = [
  "*.dkr.ecr.*.amazonaws.com",
  "*.dkr.ecr.*.amazonaws.com.cn",
  "*.dkr.ecr-fips.*.amazonaws.com",
  "*.dkr-ecr*.on.aws",
  "*.dkr-ecr*.on.amazonwebservices.com.cn",
  "*.azurecr.io",
  "*.azurecr.cn",
  "*.azurecr.us",
  "*.pkg.dev",
  "gcr.io",
  "*.gcr.io",
];

const imagesSchema = section({
  allow: patterns([]).describe("Only these images are rewritten; empty: all"),
  deny: patterns([]).describe("These images are never rewritten"),
  public: patterns([]).describe(
    "Rewritten although their pod has pull secrets or their registry is in nodeCredentials",
  ),
  nodeCredentials: patterns(NODE_CREDENTIALS).describe(
    "Registries that nodes pull from with credentials of their own: left alone",
  ),
});

/** The webhook's configuration file. */
export const WebhookConfig = z.strictObject({
  // The API server speaks HTTPS to webhooks only, so a webhook without a certificate would silently never be asked.
  listen: listenSchema({ host: "0.0.0.0", port: 8443 }).refine((listen) => listen.tls !== undefined, {
    path: ["tls"],
    error: "required, because the API server calls webhooks over HTTPS only: set certFile and keyFile",
  }),
  management: managementSchema(8082),
  mode: z
    .enum(["rewrite", "mirror"])
    .default("rewrite")
    .describe("rewrite: change image names; mirror: only label the pods, containerd finds the cache by itself"),
  endpoint: registryName().prefault(DEFAULT_ENDPOINT).describe("Where nodes reach the cache: host, with a port"),
  registries: z
    .array(registryName())
    .prefault([])
    .describe(
      "Upstreams that the registry lists: a name without a dot, such as harbor:5000, is rewritten only when listed",
    ),
  registriesWithCredentials: z
    .array(z.string().refine(isImagePrefix, { error: `expected ${PREFIX_HINT}` }))
    .default([])
    .meta({ allowed: `a list, each ${PREFIX_HINT}` })
    .describe(
      "Upstreams for which the registry holds credentials, or repositories there: rewritten although they are in images.nodeCredentials",
    ),
  clusterStateFile: filePath()
    .optional()
    .describe(
      "What the controllers publish: is the cache healthy, which owners are left alone. Unset: no gate. While it is missing or not valid, nothing is rewritten; in mode mirror nothing goes by it",
    ),
  images: imagesSchema,
  privateImages: privateImagesSchema(),
  owners: section({
    allow: z
      .array(ownerKind)
      .default([
        "apps/ReplicaSet",
        "apps/StatefulSet",
        "apps/DaemonSet",
        "batch/Job",
        "v1/ReplicationController",
        "none",
      ])
      .meta({ allowed: OWNER_HINT })
      .describe("Controllers whose pods are rewritten; none: pods without a controller"),
  }),
  optIn: z
    .boolean()
    .default(false)
    .describe("Only pods with the label cache-registry.enix.io/image-caching-policy: cache"),
  dryRun: z.boolean().default(false).describe("Only report in the annotation and the log what would be rewritten"),
  shutdown: shutdownSchema(),
  log: logSchema(),
});
export type WebhookConfig = z.output<typeof WebhookConfig>;
