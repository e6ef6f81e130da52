import { createHash, createSign } from "node:crypto";
import { encodeStrictly, queryString } from "@cache-registry/runtime/cloud/aws-signature";
import type { GoogleServiceAccount } from "@cache-registry/runtime/cloud-identity/google";
import type { GcsLocation } from "./client.ts";

const ALGORITHM = "GOOG4-RSA-SHA256";

export type UrlToSign = {
  readonly location: GcsLocation;
  readonly key: string;
  /** Seconds for which it is valid, a week at most. */
  readonly expiresIn: number;
  readonly account: Pick<GoogleServiceAccount, "email" | "privateKey">;
  readonly now: Date;
};

/** A URL that anybody may GET (https://cloud.google.com/storage/docs/access-control/signing-urls-manually, version 4). */
export function signedUrl({ location, key, expiresIn, account, now }: UrlToSign): string {
  const url = new URL(location.endpoint);
  const path = [location.bucket, ...key.split("/")].map(encodeStrictly).join("/");
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${path}`;
  const timestamp = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${timestamp.slice(0, 8)}/auto/storage/goog4_request`;
  url.search = queryString({
    "X-Goog-Algorithm": ALGORITHM,
    "X-Goog-Credential": `${account.email}/${scope}`,
    "X-Goog-Date": timestamp,
    "X-Goog-Expires": String(expiresIn),
    "X-Goog-SignedHeaders": "host",
  });
  const { pathname, search, host } = url;
  const canonical = ["GET", pathname, search.slice(1), `host:${host}`, "", "host", "UNSIGNED-PAYLOAD"].join("\n");
  const hash = createHash("sha256").update(canonical).digest("hex");
  const text = [ALGORITHM, timestamp, scope, hash].join("\n");
  url.search += `&X-Goog-Signature=${createSign("RSA-SHA256").update(text).sign(account.privateKey, "hex")}`;
  return url.href;
}
