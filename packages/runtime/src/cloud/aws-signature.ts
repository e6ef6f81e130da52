import { createHash, createHmac } from "node:crypto";

/** What a request is signed with. Never logged. */
export type AwsCredentials = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
};

export type Signing = {
  readonly credentials: AwsCredentials;
  readonly region: string;
  /** As AWS calls it in signatures: `s3`, `ecr`, `sts`. */
  readonly service: string;
  readonly now: Date;
};

export type SignableRequest = {
  readonly method: string;
  /** Path and query already encoded with `encodeStrictly`. */
  readonly url: URL;
  /** Lower-case names; all of them are signed. */
  readonly headers: Readonly<Record<string, string>>;
  /** Lower-case hex of the body's SHA-256. The server compares it with what it received. */
  readonly payloadSha256: string;
};

export const EMPTY_SHA256 = createHash("sha256").digest("hex");

const ALGORITHM = "AWS4-HMAC-SHA256";

/** Percent-encoding as Signature Version 4 wants it: everything but the unreserved characters of RFC 3986. */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** `?a=b&c=d`, sorted and encoded; empty without parameters. */
export function queryString(query: Readonly<Record<string, string>>): string {
  const names = Object.keys(query).sort();
  const pairs = names.map((name) => `${encodeStrictly(name)}=${encodeStrictly(query[name] ?? "")}`);
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** 2013-05-24T00:00:00.000Z → 20130524T000000Z */
function timestampOf(now: Date): string {
  return now.toISOString().replace(/[-:]|\.\d{3}/g, "");
}

function scopeOf({ now, region, service }: Signing): string {
  return `${timestampOf(now).slice(0, 8)}/${region}/${service}/aws4_request`;
}

function signatureOf(canonicalRequest: string, signing: Signing): string {
  const { credentials, region, service, now } = signing;
  const hash = createHash("sha256").update(canonicalRequest).digest("hex");
  const text = [ALGORITHM, timestampOf(now), scopeOf(signing), hash].join("\n");
  const day = hmac(`AWS4${credentials.secretAccessKey}`, timestampOf(now).slice(0, 8));
  const key = hmac(hmac(hmac(day, region), service), "aws4_request");
  return hmac(key, text).toString("hex");
}

function canonical(request: SignableRequest, signedHeaders: readonly string[]): string {
  const { method, url, headers, payloadSha256 } = request;
  return [
    method,
    url.pathname,
    url.search.slice(1),
    ...signedHeaders.map((name) => `${name}:${headers[name]?.trim().replace(/ +/g, " ") ?? ""}`),
    "",
    signedHeaders.join(";"),
    payloadSha256,
  ].join("\n");
}

/** The request's headers with those of AWS Signature Version 4 ("Authenticating Requests: Using the Authorization Header"). */
export function signedHeaders(request: SignableRequest, signing: Signing): Record<string, string> {
  const { credentials, now } = signing;
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.url.host,
    "x-amz-content-sha256": request.payloadSha256,
    "x-amz-date": timestampOf(now),
    ...(credentials.sessionToken === undefined ? {} : { "x-amz-security-token": credentials.sessionToken }),
  };
  const names = Object.keys(headers).sort();
  const signature = signatureOf(canonical({ ...request, headers }, names), signing);
  const credential = `${credentials.accessKeyId}/${scopeOf(signing)}`;
  headers.authorization = `${ALGORITHM} Credential=${credential},SignedHeaders=${names.join(";")},Signature=${signature}`;
  return headers;
}

/** A URL that anybody may GET for so many seconds ("Authenticating Requests: Using Query Parameters"). */
export function presignedUrl(url: URL, expiresIn: number, signing: Signing): string {
  const { credentials, now } = signing;
  const signed = new URL(url);
  signed.search = queryString({
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${credentials.accessKeyId}/${scopeOf(signing)}`,
    "X-Amz-Date": timestampOf(now),
    "X-Amz-Expires": String(expiresIn),
    "X-Amz-SignedHeaders": "host",
    ...(credentials.sessionToken === undefined ? {} : { "X-Amz-Security-Token": credentials.sessionToken }),
  });
  const request = { method: "GET", url: signed, headers: { host: signed.host }, payloadSha256: "UNSIGNED-PAYLOAD" };
  signed.search += `&X-Amz-Signature=${signatureOf(canonical(request, ["host"]), signing)}`;
  return signed.href;
}
