/** The types that a comment in values.yaml may name: `# @type duration`, `# @type list of text`. */

/** JSON schema, draft 7, of which Helm's validator takes more than is used here. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly deprecated?: boolean;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly minItems?: number;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
}

const QUANTITY = "^[0-9]+(\\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";
const DURATION = "([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+";
const text: Schema = { type: "string", minLength: 1 };
const string: Schema = { type: "string" };
const boolean: Schema = { type: "boolean" };
const duration: Schema = { type: "string", pattern: `^${DURATION}$` };
const digest: Schema = { type: "string", pattern: "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})?$" };

/** An object of ours: it takes no other keys. */
function closed(properties: Readonly<Record<string, Schema>>, required?: readonly string[]): Schema {
  return { type: "object", additionalProperties: false, properties, ...(required && { required }) };
}
function listOf(items: Schema): Schema {
  return { type: "array", items };
}
function about(description: string, schema: Schema): Schema {
  return { ...schema, description };
}

const upstreamTls = closed({
  existingSecret: about("Secret in the release namespace with ca.crt, or tls.crt and tls.key, or all of them.", text),
  ca: about("Trust its ca.crt besides the system's authorities; default: true.", boolean),
  clientCertificate: about("Show its tls.crt to the endpoints; default: false.", boolean),
  caFile: about("Instead of a Secret: a file that extraVolumes mounts.", text),
  certFile: about("Instead of a Secret: a file that extraVolumes mounts.", text),
  keyFile: about("Instead of a Secret: a file that extraVolumes mounts.", text),
  insecureSkipVerify: about("Do not verify certificates.", boolean),
});
const credentials = closed({
  prefix: about("Repositories that the entry is for, such as team/app; the longest prefix counts.", text),
  existingSecret: about(
    "Secret in the release namespace with the keys username and password, or with what `key` names.",
    text,
  ),
  key: about(
    "Key of the Secret: with Docker's configuration (.dockerconfigjson); with provider gcp: a key file; with provider acr: an application's secret.",
    text,
  ),
  username: about("Name that is no secret, with passwordFile.", text),
  password: about("Refused: values are no place for it; use existingSecret.", string),
  usernameFile: about("A file that extraVolumes mounts.", text),
  passwordFile: about("A file that extraVolumes mounts.", text),
  dockerConfigFile: about("A file that extraVolumes mounts.", text),
  helper: about("Docker credential helper, in an image of your own.", text),
  provider: about("Identity of a cloud.", { enum: ["ecr", "gcp", "acr"] }),
  region: about("ecr: region.", text),
  roleArn: about("ecr: role to assume.", text),
  tenantId: about("acr: Entra tenant.", text),
  clientId: about("acr: application or managed identity.", text),
});

/** Name → schema. What Kubernetes defines is left to the API server, and open. */
export const VALUE_TYPES: Readonly<Record<string, Schema>> = {
  text,
  string,
  boolean,
  integer: { type: "integer" },
  duration,
  /** Duration, or a number of days. */
  days: {
    anyOf: [
      { type: "integer", minimum: 0 },
      { type: "string", pattern: `^([0-9]+|${DURATION})$` },
    ],
  },
  quantity: { type: "string", pattern: QUANTITY },
  /** More than nothing; empty for what the description says. */
  optionalQuantity: {
    type: "string",
    pattern: "^$|^(0*[1-9][0-9]*(\\.[0-9]+)?|0+\\.0*[1-9][0-9]*)(k|M|G|T|Ki|Mi|Gi|Ti)?$",
  },
  percentage: { type: "string", pattern: "^[0-9]+%$" },
  count: { type: "integer", minimum: 0 },
  digest,
  /** An object of Kubernetes', or a list of them. */
  object: { type: "object" },
  platforms: { ...listOf(text), minItems: 1 },
  labels: { type: "object", additionalProperties: string },
  env: { type: "object", required: ["name"], properties: { name: about("Its name.", text) } },
  localObject: closed({ name: about("Name of the Secret, in the release namespace.", text) }, ["name"]),
  componentImage: closed({
    registry: about("Registry.", string),
    repository: about("Repository.", string),
    tag: about("Tag; replaces the common tag and digest.", string),
    digest: about("Digest; replaces the common tag and digest.", digest),
    pullPolicy: about("When the kubelet pulls it.", { enum: ["", "Always", "IfNotPresent", "Never"] }),
  }),
  selectorRequirement: closed(
    {
      key: about("Label.", text),
      operator: about("Operator.", { enum: ["In", "NotIn", "Exists", "DoesNotExist"] }),
      values: about("Values.", listOf(text)),
    },
    ["key", "operator"],
  ),
  matchCondition: closed(
    {
      name: about("Name, unique among them.", text),
      expression: about("CEL expression that gives true for what the webhook shall see.", text),
    },
    ["name", "expression"],
  ),
  upstream: closed(
    {
      registry: about("Its name in image references.", text),
      endpoints: about("URLs, tried in order; empty for https://<registry>.", listOf(text)),
      paths: about("First path components under which it is also served.", listOf(text)),
      hosts: about("Virtual hosts under which it is also served.", listOf(text)),
      credentials: about("Who we are to it: one entry, or a list of them with prefixes; none: anonymous.", {
        anyOf: [credentials, listOf(credentials)],
      }),
      tokenHosts: about("Token services elsewhere that may see the credentials.", listOf(text)),
      tls: about("TLS to its endpoints.", upstreamTls),
      proxy: about("The proxy on the way to it, or direct; instead of forwardProxy.", text),
      tagTtl: about("How long a tag is served without asking upstream.", duration),
      tags: about(
        "Rules for tags; the first match wins.",
        listOf(
          closed(
            {
              match: about("Regular expression for tags.", string),
              ttl: about("Instead of tagTtl.", duration),
              freeze: about("Never ask upstream again.", boolean),
            },
            ["match"],
          ),
        ),
      ),
      timeouts: about(
        "Time-outs of requests.",
        closed({
          connect: about("Until connected.", duration),
          headers: about("Until the answer begins.", duration),
          idle: about("Between two chunks of a body.", duration),
        }),
      ),
      concurrency: about("Blobs read from it at once.", { type: "integer", minimum: 1 }),
      rate: about("Requests per second to its endpoints.", { type: "number", exclusiveMinimum: 0 }),
    },
    ["registry"],
  ),
};

/** @throws Error when no such type is known */
export function schemaOfType(type: string): Schema {
  const choices = type.split(" or ").map((one) => one.trim());
  if (choices.length > 1) return { anyOf: choices.map(schemaOfType) };
  const [, kind, of] = /^(list|map) of (.+)$/.exec(type) ?? [];
  if (of)
    return kind === "list" ? listOf(schemaOfType(of)) : { type: "object", additionalProperties: schemaOfType(of) };
  const [, constant] = /^"(.*)"$/.exec(type) ?? [];
  if (constant !== undefined) return { const: constant };
  const known = VALUE_TYPES[type];
  if (!known) throw new Error(`no type ${type}; known: ${Object.keys(VALUE_TYPES).join(", ")}`);
  return known;
}
