import { z } from "zod";
import { CachedImageSpec, CachedImageStatus } from "./cached-image.ts";
import type { KubeObject } from "./object.ts";
import { CACHED_IMAGES, type Resource } from "./resource.ts";

export const CUSTOM_RESOURCE_DEFINITIONS: Resource<KubeObject> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
  namespaced: false,
};

type Schema = { [key: string]: unknown };

/** Keywords that zod prints and structural schemas (OpenAPI v3 as the API server reads it) do not allow. */
const DROPPED = new Set(["$schema", "additionalProperties", "pattern"]);

/** JSON schema → structural schema. https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ */
function structural(schema: unknown): Schema {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) throw new Error("not a schema object");
  const source = schema as Schema;
  const result: Schema = {};
  for (const [key, value] of Object.entries(source)) {
    if (key === "properties" && typeof value === "object" && value !== null) {
      result.properties = Object.fromEntries(Object.entries(value).map(([name, child]) => [name, structural(child)]));
    } else if (key === "items") {
      result.items = structural(value);
    } else if (key === "maximum" && value === Number.MAX_SAFE_INTEGER) {
      result.format = "int64";
    } else if (!DROPPED.has(key) || (key === "pattern" && source.format === undefined)) {
      result[key] = value;
    }
  }
  return result;
}

function schemaOf(schema: z.ZodType): Schema {
  return structural(z.toJSONSchema(schema, { target: "openapi-3.0", io: "input" }));
}

/** The CustomResourceDefinition as an object for the API server. */
export function cachedImageDefinition(): KubeObject & { spec: unknown } {
  const { group, version, plural, kind } = CACHED_IMAGES;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Cluster",
      names: { kind, listKind: `${kind}List`, plural, singular: "cachedimage", shortNames: ["ci"] },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: COLUMNS,
          schema: { openAPIV3Schema: rootSchema() },
        },
      ],
    },
  };
}

const COLUMNS = [
  { name: "Phase", type: "string", jsonPath: ".status.phase" },
  { name: "Size", type: "integer", format: "int64", jsonPath: ".status.size", description: "Bytes in the cache" },
  { name: "Pods", type: "integer", jsonPath: ".status.usedBy.count", description: "Pods that name the image" },
  // `type: date` would print the time since, which is nonsense for a moment to come.
  { name: "Expires", type: "string", jsonPath: ".status.expiresAt" },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  { name: "Image", type: "string", jsonPath: ".spec.sourceImage", priority: 1 },
  { name: "Digest", type: "string", jsonPath: ".status.digest", priority: 1 },
  { name: "Message", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
];

function rootSchema(): Schema {
  const spec = schemaOf(CachedImageSpec);
  const status = schemaOf(CachedImageStatus);
  const specProperties = spec.properties as Record<string, Schema>;
  const statusProperties = status.properties as Record<string, Schema>;
  Object.assign(specProperties.sourceImage ?? {}, {
    "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "sourceImage cannot be changed" }],
  });
  // Lists with keys let several field managers share them; atomic ones belong to whoever writes them.
  Object.assign(specProperties.platforms ?? {}, { "x-kubernetes-list-type": "set" });
  Object.assign(specProperties.pullSecrets ?? {}, {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["namespace", "name"],
  });
  Object.assign(statusProperties.conditions ?? {}, {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
  });
  return {
    type: "object",
    description: "An image that the cluster uses and that the cache keeps warm.",
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec,
      status,
    },
  };
}
