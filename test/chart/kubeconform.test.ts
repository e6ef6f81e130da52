import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { refusal, renderText } from "./helm.ts";
import { nonconformities } from "./kubeconform.ts";
import { kindSchemas } from "./openapi-schemas.ts";

const metadata = { name: "x" };
const MONITOR = { apiVersion: "monitoring.coreos.com/v1", kind: "ServiceMonitor", metadata };

function wrong(object: unknown): Promise<string[]> {
  return nonconformities(stringify(object));
}

describe("objects that do not conform", () => {
  it.each([
    [
      "an unknown field, deep inside",
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata,
        spec: { containers: [{ name: "a", image: "b", imagePulPolicy: "Never" }] },
      },
      "Pod x: at '/spec/containers/0': additional properties 'imagePulPolicy' not allowed",
    ],
    [
      "a wrong type",
      { apiVersion: "v1", kind: "ConfigMap", metadata, data: { a: 1 } },
      "ConfigMap x: at '/data/a': got number, want string",
    ],
    [
      "a missing field of cert-manager's",
      { apiVersion: "cert-manager.io/v1", kind: "Certificate", metadata, spec: { secretName: "x" } },
      "Certificate x: at '/spec': missing property 'issuerRef'",
    ],
    [
      "a value that Gateway API does not know",
      {
        apiVersion: "gateway.networking.k8s.io/v1",
        kind: "HTTPRoute",
        metadata,
        spec: { rules: [{ matches: [{ path: { type: "Glob", value: "/" } }] }] },
      },
      "HTTPRoute x: at '/spec/rules/0/matches/0/path/type': value must be one of 'Exact', 'PathPrefix', 'RegularExpression'",
    ],
    [
      "an unknown field of Istio's",
      { apiVersion: "networking.istio.io/v1", kind: "VirtualService", metadata, spec: { host: ["a"] } },
      "VirtualService x: at '/spec': additional properties 'host' not allowed",
    ],
    [
      "an unknown field of the Prometheus operator's",
      { ...MONITOR, spec: { selector: {}, endpoints: [{ ports: "http" }] } },
      "ServiceMonitor x: at '/spec/endpoints/0': additional properties 'ports' not allowed",
    ],
    [
      "an unknown field of Flux's",
      {
        apiVersion: "source.toolkit.fluxcd.io/v1",
        kind: "HelmRepository",
        metadata,
        spec: { url: "oci://x", uri: "y" },
      },
      "HelmRepository x: at '/spec': additional properties 'uri' not allowed",
    ],
  ])("are told from others: %s", async (_what, object, problem) => {
    expect(await wrong(object)).toEqual([problem]);
  });

  it("may be of a kind that nobody defines", async () => {
    expect(await wrong({ apiVersion: "v1", kind: "Podd", metadata })).toEqual([
      expect.stringContaining("could not find schema for Podd"),
    ]);
  });

  it("are found among others, and again when seen again", async () => {
    const good = stringify({ apiVersion: "v1", kind: "ConfigMap", metadata });
    const text = `${good}---\n${stringify({ ...MONITOR, spec: {} })}`;
    expect(await nonconformities(good)).toEqual([]);
    expect(await nonconformities(text)).toHaveLength(1);
    expect(await nonconformities(text)).toHaveLength(1);
  });

  it("cannot be rendered by any test of the chart", async () => {
    const values = { registry: { affinity: { podAffinities: {} } } };
    await expect(renderText({ values })).rejects.toThrow("additional properties 'podAffinities' not allowed");
    await expect(refusal({ values })).rejects.toThrow("accepted the values");
  });
});

describe("schemas from OpenAPI documents", () => {
  const kind = [{ group: "g", version: "v1", kind: "Thing" }];
  const schemas = {
    Thing: {
      type: "object",
      properties: {
        metadata: { type: "object" },
        spec: { allOf: [{ $ref: "#/components/schemas/Spec" }], default: {} },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { a: {} } },
      },
      "x-kubernetes-group-version-kind": kind,
    },
    Spec: {
      type: "object",
      properties: {
        size: { type: "integer", nullable: true },
        map: { additionalProperties: { properties: { b: {} } } },
      },
      oneOf: [{ properties: { size: { minimum: 1 } } }],
    },
    Unused: { type: "object" },
  };

  it("hold what a kind refers to, and close what lists its properties", () => {
    const { "g/v1/thing.json": thing, ...others } = kindSchemas({ components: { schemas } });
    expect(others).toEqual({});
    expect(thing).toMatchObject({
      $ref: "#/definitions/Thing",
      definitions: {
        Thing: {
          additionalProperties: false,
          properties: { spec: { allOf: [{ $ref: "#/definitions/Spec" }] } },
        },
        Spec: {
          additionalProperties: false,
          properties: {
            size: { type: ["integer", "null"] },
            map: { additionalProperties: { additionalProperties: false } },
          },
        },
      },
    });
    const definitions = thing?.definitions as Record<string, { properties: Record<string, object>; oneOf: object[] }>;
    expect(Object.keys(definitions)).toEqual(["Thing", "Spec"]);
    expect(definitions.Thing?.properties.free).not.toHaveProperty("additionalProperties");
    expect(definitions.Spec?.oneOf).toEqual([{ properties: { size: { minimum: 1 } } }]);
  });
});
