import { DOCKER_HUB, normalizeRegistry } from "@cache-registry/core/image-reference";
import { isRepositoryName } from "@cache-registry/core/repository-name";
import { duration, filePath, httpUrl, section } from "@cache-registry/runtime/config-types";
import { Secret } from "@cache-registry/runtime/secret";
import { z } from "zod";
import { credentialsSchema } from "./credentials/config.ts";
import { DIRECT, PROXY_HINT, parseForwardProxy } from "./forward-proxy/forward-proxy.ts";

const DOCKER_HUB_ENDPOINT = "https://registry-1.docker.io";

/**
 * A registry name in the one form under which its content is kept: lower-case, Docker Hub's aliases folded, and an address
 * only as a URL parser writes it (`0x7f.1` and `2130706433` are 127.0.0.1 to it, so they are no names). Undefined: none.
 */
export function canonicalRegistry(host: string): string | undefined {
  const registry = normalizeRegistry(host);
  if (registry === undefined || !URL.canParse(`https://${registry}`)) return undefined;
  const written = registry.replace(/:\d+$/, "");
  return new URL(`https://${registry}`).hostname === written ? registry : undefined;
}

const REGISTRY_HINT = "a registry name with an optional port, such as docker.io or harbor.local:5000";

const registryName = z
  .string()
  .transform((text, context): string => {
    const registry = canonicalRegistry(text);
    if (registry !== undefined) return registry;
    context.issues.push({ code: "custom", input: text, message: `expected ${REGISTRY_HINT}` });
    return z.NEVER;
  })
  .meta({ allowed: REGISTRY_HINT });

const COMPONENT_HINT = "one path component of lower-case letters, digits and single separators . _ -";

const pathComponent = z
  .string()
  .refine((text) => isRepositoryName(text) && !text.includes("/"), { error: `expected ${COMPONENT_HINT}` })
  .meta({ allowed: COMPONENT_HINT });

/** Host names are compared in lower case; unlike a registry's, an alias of Docker Hub stays what it is. */
const hostName = z
  .string()
  .refine((text) => normalizeRegistry(text) !== undefined, { error: "expected a host name with an optional port" })
  .transform((text) => text.toLowerCase())
  .meta({ allowed: "a host name with an optional port" });

export const upstreamTlsSchema = z
  .strictObject({
    caFile: filePath().optional().describe("Certificate authorities trusted besides the system's, PEM"),
    certFile: filePath().optional().describe("Client certificate, PEM; shown to the endpoints only"),
    keyFile: filePath().optional().describe("Key of the client certificate, PEM"),
    insecureSkipVerify: z.boolean().default(false).describe("Accept any certificate of the endpoints"),
  })
  .refine((given) => (given.certFile === undefined) === (given.keyFile === undefined), {
    error: "certFile and keyFile are needed together",
  });
export type UpstreamTls = z.output<typeof upstreamTlsSchema>;

function isPattern(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

const tagRuleSchema = z.strictObject({
  match: z
    .string()
    .refine(isPattern, { error: "expected a regular expression" })
    .meta({ allowed: "a regular expression" })
    .describe("Tags that the rule is for"),
  ttl: duration().optional().describe("Served for so long without asking upstream, instead of tagTtl"),
  freeze: z.boolean().optional().describe("Once held, never asked upstream again"),
});

/** A secret as it may hold credentials. */
const forwardProxy = z
  .string()
  .transform((text, context): Secret => {
    if (text === DIRECT || parseForwardProxy(text)) return new Secret(text);
    // Without the text, which may hold a password.
    context.issues.push({ code: "custom", input: undefined, message: `must be ${PROXY_HINT}` });
    return z.NEVER;
  })
  .meta({ allowed: PROXY_HINT });

/** One upstream registry and how it is reached. DESIGN §4 "upstreams". Times in milliseconds. */
export const upstreamSchema = z.strictObject({
  registry: registryName.describe("The name in image references"),
  endpoints: z.array(httpUrl()).default([]).describe("Where it is asked, in order; https://<registry> when empty"),
  paths: z.array(pathComponent).default([]).describe("First path components that mean this registry"),
  hosts: z.array(hostName).default([]).describe("Host headers that mean this registry"),
  credentials: credentialsSchema.optional().describe("Who we are to it; anonymous when left out"),
  tokenHosts: z
    .array(hostName)
    .default([])
    .describe(
      "Token services outside the registry's own domain, or with a private address, that may see the credentials",
    ),
  tls: upstreamTlsSchema.optional(),
  tagTtl: duration("10m").describe("How long a tag is served without asking upstream"),
  tags: z.array(tagRuleSchema).default([]).describe("Exceptions from tagTtl; the first that matches counts"),
  timeouts: section({
    connect: duration("5s").describe("TCP and TLS handshake"),
    headers: duration("20s").describe("From the request to the headers of the answer"),
    idle: duration("60s").describe("Without a byte in the middle of a body"),
  }),
  concurrency: z.int().min(1).default(32).describe("Blobs read from it at the same time"),
  rate: z
    .number()
    .positive()
    .max(100_000)
    .optional()
    .describe("Requests per second to its endpoints, with bursts of one second; pulls go before warm-ups"),
  proxy: forwardProxy
    .optional()
    .describe("The proxy on the way to it and to what it leads to, instead of HTTP_PROXY, HTTPS_PROXY and NO_PROXY"),
});
export type Upstream = z.output<typeof upstreamSchema>;

type Named = { readonly registry: string; readonly paths: readonly string[]; readonly hosts: readonly string[] };

function duplicates(upstreams: readonly Named[]): string[] {
  const seen = new Set<string>();
  const repeated: string[] = [];
  for (const { registry, paths, hosts } of upstreams) {
    for (const key of [
      `registry ${registry}`,
      ...paths.map((path) => `path ${path}`),
      ...hosts.map((host) => `host ${host}`),
    ]) {
      if (seen.has(key)) repeated.push(key);
      seen.add(key);
    }
  }
  return repeated;
}

/** A list without a default. */
export const upstreamListSchema = z.array(upstreamSchema).superRefine((upstreams, context) => {
  for (const key of duplicates(upstreams)) context.addIssue({ code: "custom", message: `${key} is listed twice` });
});

/** Docker Hub alone, unless said otherwise. */
export const upstreamsSchema = upstreamListSchema.prefault([
  { registry: DOCKER_HUB, endpoints: [DOCKER_HUB_ENDPOINT], tagTtl: "10m" },
]);

export const upstreamPolicySchema = z
  .enum(["listed", "public", "any"])
  .default("public")
  .describe("Which registries besides the listed ones may be asked: none, those with a public address, any");
export type UpstreamPolicy = z.output<typeof upstreamPolicySchema>;

export const defaultUpstreams: readonly Upstream[] = upstreamsSchema.parse(undefined);

function withEndpoints(upstream: Upstream): Upstream {
  if (upstream.endpoints.length > 0) return upstream;
  const endpoint = upstream.registry === DOCKER_HUB ? DOCKER_HUB_ENDPOINT : `https://${upstream.registry}`;
  return { ...upstream, endpoints: [endpoint] };
}

export function isListed(upstreams: readonly Upstream[], registry: string): boolean {
  return upstreams.some((upstream) => upstream.registry === registry);
}

/** The listed entry, or the defaults for a registry that is not listed. Its endpoints are never empty. */
export function findUpstream(upstreams: readonly Upstream[], registry: string): Upstream {
  const listed = upstreams.find((upstream) => upstream.registry === registry);
  return withEndpoints(listed ?? upstreamSchema.parse({ registry }));
}

export type TagRule = {
  /** Milliseconds. */
  readonly ttl: number;
  readonly freeze: boolean;
};

/** The first rule that matches the tag; what it does not say comes from the upstream. */
export function tagRuleOf(upstream: Upstream, tag: string): TagRule {
  const rule = upstream.tags.find(({ match }) => new RegExp(match).test(tag));
  return { ttl: rule?.ttl ?? upstream.tagTtl, freeze: rule?.freeze ?? false };
}
