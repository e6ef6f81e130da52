import type { Target } from "@cache-registry/registry-client/target";
import type { Resource } from "./request.ts";

function restOf(resource: Resource): string {
  switch (resource.kind) {
    case "manifest":
      return `manifests/${resource.reference}`;
    case "blob":
      return `blobs/${resource.digest}`;
    case "listing":
      return resource.rest;
  }
}

/**
 * Path and query for the cache, built anew from what was understood, so that nothing else is smuggled through. The
 * registry stays where the client named it: in the path or in `ns`.
 */
export function cachePath(resource: Resource, target: Target, query: URLSearchParams): string {
  const passed = new URLSearchParams(query);
  passed.delete("ns");
  if (target.kind === "upstream" && target.byNamespace) passed.set("ns", target.registry);
  const name = target.kind === "local" || target.byNamespace ? target.repository : resource.name;
  const search = passed.size > 0 ? `?${passed.toString()}` : "";
  return `/v2/${name}/${restOf(resource)}${search}`;
}
