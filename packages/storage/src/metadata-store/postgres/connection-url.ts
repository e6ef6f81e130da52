import { readFile } from "node:fs/promises";
import type { ClientConfig } from "pg";

/** As libpq names them (postgresql.org/docs/current/libpq-ssl.html), without those that fall back to plain text. */
const SSL_MODES = ["disable", "require", "verify-ca", "verify-full"] as const;
type SslMode = (typeof SSL_MODES)[number];

export const CONNECTION_URL_HINT =
  "postgres://user:password@host:port/database, with sslmode=disable, require, verify-ca or verify-full; " +
  "?host=/folder for a Unix socket";

export type ConnectionUrl = Pick<ClientConfig, "host" | "port" | "user" | "password" | "database"> & {
  readonly sslMode: SslMode | undefined;
};

/** Undefined when it is no such URL. Nothing of it may be shown: it holds the password. */
export function parseConnectionUrl(text: string): ConnectionUrl | undefined {
  const match = /^postgres(?:ql)?:\/\/(.*)$/is.exec(text.trim());
  // The host may be left out, which http allows not.
  const [, rest = ""] = match ?? [];
  const hostless = /^(?:[^/?#]*@)?(?::\d+)?(?:[/?]|$)/.test(rest);
  const candidate = `http://${hostless ? rest.replace(/^([^/?#]*@)?/, "$1localhost") : rest}`;
  if (!match || !URL.canParse(candidate)) return undefined;
  const url = new URL(candidate);
  const { host: folder, sslmode, ...unknown } = Object.fromEntries(url.searchParams);
  const sslMode = SSL_MODES.find((mode) => mode === sslmode);
  if (Object.keys(unknown).length > 0 || url.hash !== "" || (sslmode !== undefined && !sslMode)) return undefined;
  if (folder !== undefined && !hostless) return undefined;
  try {
    const [user, password, database] = [url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent);
    if (!user || database?.includes("/")) return undefined;
    return {
      host: folder ?? url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: url.port === "" ? portOf(rest) : Number(url.port),
      user,
      ...(password ? { password } : {}),
      database: database || user,
      sslMode,
    };
  } catch {
    return undefined;
  }
}

/** `:80` is the default of http and not shown by it. */
function portOf(rest: string): number {
  return /^[^/?#]*:80(?:[/?]|$)/.test(rest) ? 80 : 5432;
}

export type ConnectionSource = {
  readonly url?: { reveal(): string };
  /** Read anew for each connection, so that a password may change. */
  readonly urlFile?: string;
  /** Certificates that the server's must lead to, PEM. */
  readonly caFile?: string;
};

/**
 * What the next connection is made with.
 * @throws Error naming the file when it cannot be read or holds no URL; never with its content
 */
export async function readConnectionConfig(source: ConnectionSource): Promise<ClientConfig> {
  const text = source.url?.reveal() ?? (await readFile(source.urlFile ?? "", "utf8"));
  const url = parseConnectionUrl(text);
  if (!url) throw new Error(`${source.urlFile ?? "storage.metadata.postgres.url"} holds no ${CONNECTION_URL_HINT}`);
  const { sslMode, ...config } = url;
  return { ...config, ssl: await sslOf(sslMode, source.caFile) };
}

async function sslOf(mode: SslMode | undefined, caFile: string | undefined): Promise<ClientConfig["ssl"]> {
  const effective = mode ?? (caFile === undefined ? "disable" : "verify-full");
  if (effective === "disable") return false;
  const ca = caFile === undefined ? {} : { ca: await readFile(caFile, "utf8") };
  // As libpq has it: `require` with a root certificate is `verify-ca`.
  if (effective === "require" && caFile === undefined) return { rejectUnauthorized: false };
  if (effective === "verify-full") return { rejectUnauthorized: true, ...ca };
  return { rejectUnauthorized: true, checkServerIdentity: () => undefined, ...ca };
}
