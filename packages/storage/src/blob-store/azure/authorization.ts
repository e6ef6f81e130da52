import { createHmac } from "node:crypto";
import type { TokenSource } from "@cache-registry/runtime/cloud-identity/token-source";

/** How requests are authorised: the account's key, a shared access signature, or an identity of the directory. */
export type AzureCredentials =
  | { readonly kind: "key"; readonly key: () => Promise<string> }
  /** A query string, with or without its question mark. */
  | { readonly kind: "sas"; readonly token: () => Promise<string> }
  | { readonly kind: "identity"; readonly tokens: TokenSource };

export type AzureRequest = {
  readonly method: string;
  readonly url: URL;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the body. */
  readonly length: number;
};

/** Headers that a signature covers besides those of Azure, in this order. */
const SIGNED = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
] as const;

function sign(key: string, text: string): string {
  return createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
}

/** https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key */
export function sharedKeyHeader(account: string, key: string, request: AzureRequest): string {
  const { method, url, headers, length } = request;
  const values: Readonly<Record<string, string>> = { ...headers, "content-length": length === 0 ? "" : String(length) };
  const own = Object.keys(headers).filter((name) => name.startsWith("x-ms-"));
  const parameters = [...url.searchParams].map(([name, value]) => `${name.toLowerCase()}:${value}`);
  const text = [
    method,
    ...SIGNED.map((name) => values[name] ?? ""),
    ...own.sort().map((name) => `${name}:${headers[name] ?? ""}`),
    [`/${account}${url.pathname}`, ...parameters.sort()].join("\n"),
  ].join("\n");
  return `SharedKey ${account}:${sign(key, text)}`;
}

export type BlobToShare = {
  readonly account: string;
  readonly container: string;
  /** The blob's name. */
  readonly name: string;
  readonly expiresAt: Date;
};

const VERSION = "2021-12-02";

/** Query of a URL with which anybody may read one blob (service SAS, "Version 2020-12-06 and later"). */
export function readSignature(key: string, { account, container, name, expiresAt }: BlobToShare): URLSearchParams {
  const until = `${expiresAt.toISOString().slice(0, 19)}Z`;
  const resource = `/blob/${account}/${container}/${name}`;
  // Permissions, start, end, resource, identifier, address, protocol, version, kind, snapshot, encryption scope, five headers.
  const text = ["r", "", until, resource, "", "", "", VERSION, "b", "", "", "", "", "", "", ""].join("\n");
  return new URLSearchParams({ sv: VERSION, sr: "b", sp: "r", se: until, sig: sign(key, text) });
}
