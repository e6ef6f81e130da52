import { readFileSync } from "node:fs";
import type { CommandOptions } from "@cache-registry/runtime/command";
import { ConfigError, loadConfig } from "@cache-registry/runtime/config";
import { httpUrl } from "@cache-registry/runtime/config-types";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { RegistryConfig } from "../config.ts";
import { createHttpClient, type HttpClient } from "../remote/http-client.ts";
import { localUrl, openLocalManagement } from "../remote/management-api.ts";

type Values = NonNullable<CommandOptions["values"]>;

/** The options of a command line, with every problem told at once. */
export type CommandLine = {
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  flag(name: string): boolean;
  url(name: string): string | undefined;
  /** Something is wrong with it. */
  complain(problem: string): void;
  /** @throws ConfigError when something was */
  check(): void;
};

export function readCommandLine(values: Values = {}): CommandLine {
  const problems: string[] = [];
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  return {
    text,
    texts(name) {
      const value = values[name];
      return Array.isArray(value) ? value.map(String) : [];
    },
    flag: (name) => values[name] === true,
    url(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      const parsed = httpUrl().safeParse(value);
      if (!parsed.success) problems.push(`--${name}: expected an http:// or https:// URL`);
      return parsed.data;
    },
    complain: (problem) => void problems.push(problem),
    check() {
      if (problems.length > 0) throw new ConfigError(problems, "the command line");
    },
  };
}

/** Servers of a running registry; the management API only when its address is known. */
export type Connections = { readonly registry: HttpClient; readonly management: HttpClient | undefined; close(): void };

/** From `--url` and what belongs to it, or from the configuration of the registry on this machine. @throws ConfigError */
export async function connect(line: CommandLine, { file, env }: CommandOptions): Promise<Connections> {
  const [url, managementUrl] = [line.url("url"), line.url("management-url")];
  const caFile = line.text("ca-file");
  const ca = caFile === undefined ? undefined : readFileSync(caFile, "utf8");
  if (url !== undefined || managementUrl !== undefined) {
    if (file !== undefined) line.complain("--config or --url, not both");
    line.check();
    const authorization = bearer(line.text("token-file"));
    const management =
      managementUrl === undefined ? undefined : createHttpClient({ url: managementUrl, ca, authorization });
    return connected(createHttpClient({ url: url ?? "http://localhost", ca, authorization: basic(line) }), management);
  }
  line.check();
  const config = loadConfig({ schema: RegistryConfig, file, env });
  const { tls } = config.listen;
  const own = tls ? { ca: readFileSync(tls.certFile, "utf8"), pinned: true } : {};
  const registry = createHttpClient({ url: localUrl(config.listen), authorization: basic(line), ...own });
  return connected(registry, await openLocalManagement(config));
}

function connected(registry: HttpClient, management: HttpClient | undefined): Connections {
  return {
    registry,
    management,
    close() {
      registry.close();
      management?.close();
    },
  };
}

function bearer(tokenFile: string | undefined): (() => Promise<string>) | undefined {
  if (tokenFile === undefined) return undefined;
  const token = createSecretFile(tokenFile);
  return async () => `Bearer ${await token.read()}`;
}

function basic(line: CommandLine): (() => Promise<string>) | undefined {
  const [username, passwordFile] = [line.text("username"), line.text("password-file")];
  if (username === undefined || passwordFile === undefined) return undefined;
  const password = createSecretFile(passwordFile);
  return async () => `Basic ${Buffer.from(`${username}:${await password.read()}`).toString("base64")}`;
}
