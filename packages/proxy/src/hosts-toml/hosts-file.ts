import { createHash } from "node:crypto";
import { outlineOf } from "./toml-outline.ts";

/*
 * The text of a hosts.toml of ours (containerd docs/hosts.md). Files are handled as latin1 text: each character is a byte,
 * so whatever a user's file holds stays as it is.
 */

/** What a file of ours says about itself in its first line. */
export type Mark = {
  readonly origin: Origin;
  /** Nobody has changed the file since. */
  readonly intact: boolean;
};

/** What was there before: nothing, the folder, or the folder with a hosts.toml, which is then kept beside ours. */
export type Origin = "nothing" | "folder" | "file";

const NOTES: Readonly<Record<Origin, string>> = {
  nothing: " (and made its folder)",
  folder: "",
  file: " (and kept the one before)",
};
const MARK = /^# cache-registry wrote this file; sha256 of what follows: ([0-9a-f]{64})( \([a-z ]+\))?\n/;

function hashOf(text: string): string {
  return createHash("sha256").update(text, "latin1").digest("hex");
}

/** Undefined: not a file of ours. */
export function markOf(text: string): Mark | undefined {
  const found = MARK.exec(text);
  if (!found) return undefined;
  const [head, hash, note = ""] = found;
  const origin = (["nothing", "file"] as const).find((one) => NOTES[one] === note) ?? "folder";
  return { origin, intact: hashOf(text.slice(head.length)) === hash };
}

export function withMark(text: string, origin: Origin): string {
  return `# cache-registry wrote this file; sha256 of what follows: ${hashOf(text)}${NOTES[origin]}\n${text}`;
}

/** Files in a registry's folder from which containerd takes certificates as long as there is no hosts.toml. */
export type Certificates = {
  readonly authorities: readonly string[];
  /** Certificate and key; the key is empty where the certificate's file holds both. */
  readonly clients: readonly (readonly [certificate: string, key: string])[];
};

/** Docker's pattern: `*.crt` authorities, `*.cert` with `*.key` client certificates. */
export function certificatesAmong(names: readonly string[]): Certificates {
  const sorted = names.toSorted((a, b) => (a < b ? -1 : 1));
  const keyOf = (name: string): string => name.replace(/\.cert$/, ".key");
  return {
    authorities: sorted.filter((name) => name.endsWith(".crt")),
    clients: sorted
      .filter((name) => name.endsWith(".cert"))
      .map((name) => [name, names.includes(keyOf(name)) ? keyOf(name) : ""] as const),
  };
}

/** Keys of the root: what containerd would have used for the registry itself. */
function certificateKeys({ authorities, clients }: Certificates): string {
  const ca = authorities.length > 0 ? `ca = ${JSON.stringify(authorities)}\n` : "";
  return clients.length > 0 ? `${ca}client = ${JSON.stringify(clients)}\n` : ca;
}

const ABOUT_OURS =
  "# The proxy of cache-registry on this node. When it does not answer, containerd goes on with what comes next.";

/** After our host come the user's own, then the registry itself: containerd's default. */
function ourTable(url: string): string {
  return [
    ABOUT_OURS,
    `[host.${JSON.stringify(url)}]`,
    '  capabilities = ["pull", "resolve"]',
    '  dial_timeout = "200ms"',
    "",
  ].join("\n");
}

/** Names that lead to a proxy on this node. */
function isOurHost(host: string, url: string): boolean {
  const wanted = new URL(url);
  const parsed = URL.canParse(host) ? new URL(host) : undefined;
  const loopback = ["localhost", "127.0.0.1", "[::1]"].includes(parsed?.hostname ?? "");
  return parsed !== undefined && loopback && parsed.port === wanted.port;
}

export type Merged =
  | { readonly text: string }
  /** The user leads the registry to the proxy already. */
  | { readonly already: true }
  /** A form that cannot be added to without taking it apart. */
  | { readonly refused: string };

const BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf";

/** The user's file with our host before all others; every byte of it stays. */
export function mergeInto(original: string, url: string): Merged {
  const outline = original.startsWith(BYTE_ORDER_MARK) ? undefined : outlineOf(original);
  if (outline === undefined) return { refused: "its hosts.toml is not valid TOML" };
  const { tablesAt, rootKeys, tables } = outline;
  if (rootKeys.includes("host")) return { refused: "its hosts.toml names hosts in another form than [host.…] tables" };
  if (tables.some(([first, host = ""]) => first === "host" && isOurHost(host, url))) return { already: true };
  const head = original.slice(0, tablesAt);
  const line = head === "" || head.endsWith("\n") ? "" : "\n";
  const rest = original.slice(tablesAt);
  return { text: `${head}${line}${ourTable(url)}${rest === "" || rest.startsWith("\n") ? "" : "\n"}${rest}` };
}

/** The user's part of a file of ours, for where the one before is lost: all of it but line breaks around our table. */
export function withoutOurs(text: string): string {
  const [before = "", ...behind] = text.replace(MARK, "").split(`${ABOUT_OURS}\n`);
  // The table's header and its keys, which are indented.
  return before + behind.join("").replace(/^\[host\..*\n(?: {2}.*\n)*/, "");
}

/** For a registry without a hosts.toml. */
export function freshText(url: string, certificates: Certificates): string {
  return certificateKeys(certificates) + ourTable(url);
}
