import { componentToRegistry, registryToComponent } from "@cache-registry/core/cache-reference";
import { CodedError } from "@cache-registry/core/errors";
import { normalizeRepository } from "@cache-registry/core/image-reference";
import { parseRepositoryName } from "@cache-registry/core/repository-name";
import { canonicalRegistry, type Upstream } from "./upstream.ts";

export type TargetQuery = {
  /** The `<name>` between `/v2/` and `/manifests/` or the like, percent-decoded once. */
  readonly path: string;
  /** The values of the query parameter `ns`, decoded. */
  readonly ns?: string | readonly string[] | undefined;
  /** The Host header. */
  readonly host?: string | undefined;
};

export type UpstreamTarget = {
  readonly kind: "upstream";
  readonly registry: string;
  readonly repository: string;
  /** Named by `?ns=`: the answer carries `OCI-Namespace`. Distribution spec, "Registry Proxying". */
  readonly byNamespace: boolean;
};

export type LocalTarget = { readonly kind: "local"; readonly repository: string };
export type Target = LocalTarget | UpstreamTarget;

export type TargetResolver = {
  /** @throws CodedError NAME_INVALID for a bad path, BAD_REQUEST for a repeated or malformed `ns` */
  resolve(query: TargetQuery): Target;
};

export type TargetResolverOptions = {
  readonly upstreams: readonly Upstream[];
  /** Names, with port where there is one, under which this registry itself is reached. */
  readonly externalNames?: readonly string[];
};

/** How a request finds its repository: DESIGN §4, first match wins. */
export function createTargetResolver({ upstreams, externalNames = [] }: TargetResolverOptions): TargetResolver {
  const byHost = new Map(upstreams.flatMap(({ registry, hosts }) => hosts.map((host) => [host, registry] as const)));
  const byPath = new Map(upstreams.flatMap(({ registry, paths }) => paths.map((path) => [path, registry] as const)));
  const listed = new Set(upstreams.map(({ registry }) => registry));
  const ourNames = new Set(externalNames.map((name) => name.toLowerCase()));
  const ourComponents = new Set([...ourNames].map((name) => registryToComponent(name) ?? name));

  function isOurselves(name: string, host: string | undefined): boolean {
    return ourNames.has(name) || name === host;
  }

  /** The registry of `?ns=`; undefined when there is none or it names ourselves. */
  function namespaceOf(ns: TargetQuery["ns"], host: string | undefined): string | undefined {
    const values = ns === undefined || typeof ns === "string" ? [ns] : ns;
    if (values.length > 1) throw new CodedError("BAD_REQUEST", "the query parameter ns is given more than once");
    const [value] = values;
    if (value === undefined || isOurselves(value.toLowerCase(), host)) return undefined;
    // An image named by one of our virtual hosts, asked for by another name of ours.
    const registry = byHost.get(value.toLowerCase()) ?? canonicalRegistry(value);
    if (registry !== undefined) return registry;
    throw new CodedError("BAD_REQUEST", "the query parameter ns is not a registry name", {
      detail: { ns: value.slice(0, 300) },
    });
  }

  function registryOfHost(host: string | undefined): string | undefined {
    return host === undefined ? undefined : (byHost.get(host) ?? byHost.get(host.replace(/:\d+$/, "")));
  }

  /** The registry that a first path component names, by Docker's reference rule. */
  function registryOfComponent(component: string): string | undefined {
    const name = componentToRegistry(component);
    if (!component.includes(".") && component !== "localhost" && !(name !== component && listed.has(name)))
      return undefined;
    const registry = canonicalRegistry(name);
    if (registry !== undefined) return registry;
    throw new CodedError("NAME_INVALID", "the first path component looks like a registry but is none", {
      detail: { component },
    });
  }

  function upstream(registry: string, repository: string, byNamespace: boolean): UpstreamTarget {
    const normalized = parseRepositoryName(normalizeRepository(registry, repository));
    return { kind: "upstream", registry, repository: normalized, byNamespace };
  }

  return {
    resolve({ path, ns, host: hostHeader }) {
      const name = parseRepositoryName(path);
      const host = hostHeader?.toLowerCase();
      const namespace = namespaceOf(ns, host);
      if (namespace !== undefined) return upstream(namespace, name, true);
      const hosted = registryOfHost(host);
      if (hosted !== undefined) return upstream(hosted, name, false);

      // As in Docker's reference rule, a name without a slash has no registry in it.
      const slash = name.indexOf("/");
      if (slash < 0) return { kind: "local", repository: name };
      const first = name.slice(0, slash);
      const rest = name.slice(slash + 1);
      const aliased = byPath.get(first);
      if (aliased !== undefined) return upstream(aliased, rest, false);
      if (ourComponents.has(first)) return { kind: "local", repository: rest };
      const registry = registryOfComponent(first);
      return registry === undefined ? { kind: "local", repository: name } : upstream(registry, rest, false);
    },
  };
}
