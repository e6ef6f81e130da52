/** docs/configuration.md from the zod schemas: what a process refuses and what is documented cannot drift apart. */
import { ControllersConfig } from "@cache-registry/controllers/config";
import { ProxyConfig } from "@cache-registry/proxy/config";
import { RegistryConfig } from "@cache-registry/registry/config";
import { WebhookConfig } from "@cache-registry/webhook/config";
import { z } from "zod";

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly allowed?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

interface Row {
  readonly key: string;
  readonly allowed: string;
  readonly fallback: string;
  readonly description: string;
}

const PROCESSES: Readonly<Record<string, z.ZodType>> = {
  registry: RegistryConfig,
  webhook: WebhookConfig,
  controllers: ControllersConfig,
  proxy: ProxyConfig,
};

const HEAD = `# Configuration

Generated from the schemas by \`npm run generate\`; do not edit.

Every process reads one YAML file, \`cache-registry <command> --config FILE\`; without a file the defaults apply. Each key
can be overridden by an environment variable: \`CREG_\` and the path in upper case joined by \`__\`
(\`CREG_LISTEN__PORT=5001\`); its value is read as YAML, so lists are set whole. An unknown key, a value that is not allowed
or a file that cannot be read ends the process before it listens anywhere (exit code 2); the message names every problem.

Durations are written \`500ms\`, \`10s\`, \`10m\`, \`1h30m\` or \`30d\`; sizes \`500M\` or \`2Gi\`.
`;

export function configurationDocument(): string {
  const sections = Object.entries(PROCESSES).map(([name, schema]) => {
    const rows = rowsOf("", z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Schema);
    const lines = rows.map(
      ({ key, allowed, fallback, description }) => `| \`${key}\` | ${allowed} | ${fallback} | ${description} |`,
    );
    return `\n## ${name}\n\n| key | allowed | default | |\n|---|---|---|---|\n${lines.join("\n")}\n`;
  });
  return HEAD + sections.join("");
}

function rowsOf(key: string, schema: Schema): Row[] {
  if (schema.properties) {
    return Object.entries(schema.properties).flatMap(([name, child]) =>
      rowsOf(key === "" ? name : `${key}.${name}`, child),
    );
  }
  if (schema.items?.properties) return [rowOf(key, schema), ...rowsOf(`${key}[]`, { ...schema.items })];
  // One such object or a list of them: documented as one.
  const object = schema.anyOf?.find(({ properties }) => properties);
  if (object) return [{ ...rowOf(key, schema), allowed: "a mapping, or a list of them" }, ...rowsOf(key, object)];
  return [rowOf(key, schema)];
}

function rowOf(key: string, schema: Schema): Row {
  const cell = (text: string) => text.replace(/\|/g, "\\|").replace(/\s+/g, " ").trim();
  return {
    key,
    allowed: cell(allowedOf(schema)),
    fallback: schema.default === undefined ? "" : `\`${cell(JSON.stringify(schema.default))}\``,
    description: cell(schema.description ?? ""),
  };
}

function allowedOf(schema: Schema): string {
  if (schema.allowed) return schema.allowed;
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (schema.anyOf) return [...new Set(schema.anyOf.map(allowedOf))].join(" or ");
  if (schema.type === "array") return `list of ${schema.items ? allowedOf(schema.items) : "values"}`;
  return schema.type ?? "";
}
