import { upstreamListSchema } from "@cache-registry/registry-client/upstream";
import {
  duration,
  filePath,
  httpUrl,
  logSchema,
  managementSchema,
  port,
  registryName,
  section,
  shutdownSchema,
} from "@cache-registry/runtime/config-types";
import { z } from "zod";

/** containerd's folder for registries without one of their own. */
const DEFAULT_FOLDER = "_default";

const mirroredRegistry = z.union([z.literal(DEFAULT_FOLDER), registryName()], {
  error: `expected a registry as image references name it, or ${DEFAULT_FOLDER}`,
});

/** Configuration of the node's proxy. DESIGN §4. Times in milliseconds. */
export const ProxyConfig = z.strictObject({
  listen: section({
    hosts: z
      .array(z.string().min(1))
      .min(1)
      .default(["127.0.0.1", "::1"])
      .describe("Addresses to listen on; one that the node lacks is logged and left out"),
    port: port(7439).describe("Port to listen on"),
    handover: duration("0s").describe(
      "After SIGTERM: how long to serve on at most until another process of ours listens on the port, as in an update on the host network",
    ),
  }),
  registry: section({
    url: httpUrl("http://cache-registry-registry:5000").describe("The cache that is asked first"),
    connectTimeout: duration("200ms").describe(
      "How long connecting to the cache may take before the upstream is asked",
    ),
    caFile: filePath()
      .optional()
      .describe(
        "With https: certificates that the cache's must lead to, PEM, instead of the system's; read for each connection",
      ),
    serverName: z
      .string()
      .min(1)
      .optional()
      .describe("With https: the name in the cache's certificate, when the URL has an address"),
  }),
  hostsToml: section({
    enabled: z.boolean().default(false).describe("Lead containerd to this proxy by its hosts.toml files (mode mirror)"),
    directory: filePath("/etc/containerd/certs.d").describe("The config_path of containerd on this node"),
    registries: z
      .array(mirroredRegistry)
      .min(1)
      .prefault([DEFAULT_FOLDER])
      .describe("Registries to lead here; _default: all that have no folder of their own")
      .meta({ allowed: `list of registries such as docker.io, or ${DEFAULT_FOLDER}` }),
    probe: z
      .strictObject({
        criSocket: filePath().describe("Socket of containerd: --write-hosts-toml has it pull by the files it wrote"),
        resultFile: filePath().describe("Where --write-hosts-toml leaves the result, and the proxy finds it"),
      })
      .optional()
      .describe("Verify that containerd reads the files; without, the first pull that comes by them shows it"),
  }),
  upstreams: upstreamListSchema
    .prefault([])
    .describe("How registries are reached when the cache is down; those not listed at https://<registry>"),
  management: managementSchema(8084),
  log: logSchema(),
  shutdown: shutdownSchema(),
});
export type ProxyConfig = z.output<typeof ProxyConfig>;

/** What may change while the process runs: the file is read anew when it does. */
export const HOT_KEYS = ["upstreams"] as const satisfies readonly (keyof ProxyConfig)[];
