import { isIPv6 } from "node:net";
import { BYTE_SIZE_HINT, parseByteSize } from "@cache-registry/core/byte-size";
import { DURATION_HINT, parseDuration } from "@cache-registry/core/duration";
import { normalizeRegistry } from "@cache-registry/core/image-reference";
import { z } from "zod";
import { LOG_FORMATS, LOG_LEVELS } from "./logger.ts";
import { Secret } from "./secret.ts";

/*
 * Building blocks of configuration schemas. Each carries `allowed` in its metadata: what the generated documentation
 * and the messages about bad values say. `.describe("…")` may be added to any of them and keeps it.
 */

type Parse<Value> = (text: string) => Value | undefined;

/** A string (or one of the literal numbers) that `parse` turns into a value. */
function parsed<Value, Input extends z.ZodType<string | number>>(input: Input, allowed: string, parse: Parse<Value>) {
  return input
    .transform((value, context): Value => {
      const result = parse(String(value));
      if (result !== undefined) return result;
      context.issues.push({ code: "custom", input: value, message: `expected ${allowed}` });
      return z.NEVER;
    })
    .meta({ allowed });
}

/** What a schema block offers: the plain schema, required, or with a default as the user would write it. */
function withDefault<Schema extends z.ZodType>(schema: Schema, value: z.input<Schema> | undefined): Schema {
  return (value === undefined ? schema : schema.prefault(value as never)) as unknown as Schema;
}

/** Strict object that may be left out as a whole: the defaults of its keys then apply. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  // The default {} is completed by the keys' own defaults; a section with a required key reports that key.
  return z.strictObject(shape).prefault({} as never);
}

const durationInput = z.union([z.string(), z.literal(0)], { error: `expected ${DURATION_HINT}` });

/** "10m" → milliseconds. The only number allowed is 0, since others lack a unit. */
export function duration(defaultText?: string) {
  return withDefault(parsed(durationInput, DURATION_HINT, parseDuration), defaultText);
}

const byteSizeInput = z.union([z.string(), z.number().int().nonnegative()], { error: `expected ${BYTE_SIZE_HINT}` });

/** "2Gi" → bytes. */
export function byteSize(defaultText?: string) {
  return withDefault(parsed(byteSizeInput, BYTE_SIZE_HINT, parseByteSize), defaultText);
}

const PORT_HINT = "a port number from 0 to 65535 (0: any free port)";

export function port(defaultPort?: number) {
  const message = { error: `expected ${PORT_HINT}` };
  return withDefault(z.int(message).min(0, message).max(65535, message).meta({ allowed: PORT_HINT }), defaultPort);
}

export function filePath(defaultPath?: string) {
  return withDefault(z.string().min(1, { error: "expected a path" }).meta({ allowed: "a path" }), defaultPath);
}

/** An inline secret. Prefer a file. */
export function secretText() {
  return z
    .string()
    .min(1, { error: "expected a text that is not empty" })
    .transform((text) => new Secret(text))
    .meta({ allowed: "a secret text; prefer the key that names a file" });
}

const HTTP_URL_HINT = "an http:// or https:// URL without user name, password, query and fragment";

/**
 * `http://fd00::1:5000` → `http://[fd00::1]:5000`. A pod's specification can join the address and the port of a Service
 * from variables, but not put brackets around the one and not around the other.
 */
function withBrackets(text: string): string {
  const [, scheme = "", address = "", port = ""] = /^(https?:\/\/)([0-9a-fA-F:.]+):(\d+)$/.exec(text) ?? [];
  return isIPv6(address) ? `${scheme}[${address}]:${port}` : text;
}

function parseHttpUrl(given: string): string | undefined {
  const text = withBrackets(given);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    return undefined;
  return url.href.replace(/\/+$/, "");
}

/** `https://host/` → `https://host`. */
export function httpUrl(defaultUrl?: string) {
  return withDefault(parsed(z.string(), HTTP_URL_HINT, parseHttpUrl), defaultUrl);
}

/** Files of a certificate chain and its key, PEM; read again when they change. */
export const tlsSchema = z.strictObject({
  certFile: filePath().describe("Certificate chain, PEM; read again when it changes"),
  keyFile: filePath().describe("Private key of the certificate, PEM"),
});
export type TlsConfig = z.output<typeof tlsSchema>;

const REGISTRY_HINT = "a registry as image references name it, such as ghcr.io or harbor:5000";

/** Output: normalised, as in image references. */
export function registryName() {
  return parsed(z.string(), REGISTRY_HINT, normalizeRegistry);
}

export function listenSchema(defaults: { readonly host?: string; readonly port: number }) {
  return section({
    host: z
      .string()
      .min(1)
      .default(defaults.host ?? "127.0.0.1")
      .describe("Address to listen on"),
    port: port(defaults.port).describe("Port to listen on"),
    tls: tlsSchema.optional().describe("Serve HTTPS with this certificate; plain HTTP when left out"),
  });
}
export type ListenConfig = z.output<ReturnType<typeof listenSchema>>;

/** Where `/livez`, `/readyz`, `/metrics` and the registry's `/api/v1` are served. */
export function managementSchema(defaultPort: number) {
  return section({
    host: z.string().min(1).default("127.0.0.1").describe("Address of the management server"),
    port: port(defaultPort).describe("Port of the management server"),
    tokenFile: filePath().optional().describe("Bearer token that guards /api/v1; needed off loopback"),
    tls: tlsSchema.optional().describe("Serve the management API over HTTPS with this certificate"),
  });
}
/** The same for the webhook, which lets such images through, and the controllers, which see that they can be fetched. */
export function privateImagesSchema() {
  return section({
    mode: z
      .enum(["skip", "share"])
      .default("skip")
      .describe("Images of pods with pull secrets: leave alone, or share through the cache in the namespaces listed"),
    namespaces: z.array(z.string().min(1).max(63)).default([]).describe("Where `share` applies"),
  });
}
export type ManagementConfig = z.output<ReturnType<typeof managementSchema>>;

export function logSchema() {
  return section({
    level: z.enum(LOG_LEVELS).default("info").describe("Least severe level that is logged"),
    format: z.enum(LOG_FORMATS).default("json").describe("json, or text for reading by eye"),
    access: z.boolean().default(true).describe("Log one line per request"),
  });
}
export type LogConfig = z.output<ReturnType<typeof logSchema>>;

export function shutdownSchema() {
  return section({
    grace: duration("0s").describe("After SIGTERM: how long to serve on, unready, until no new connections arrive"),
    drainTimeout: duration("25s").describe("How long all of it may take; running requests are cut after four fifths"),
  });
}
export type ShutdownConfig = z.output<ReturnType<typeof shutdownSchema>>;
