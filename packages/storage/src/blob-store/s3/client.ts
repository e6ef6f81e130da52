import type { IncomingMessage } from "node:http";
import { isDeepStrictEqual } from "node:util";
import {
  type AwsCredentials,
  EMPTY_SHA256,
  encodeStrictly,
  presignedUrl,
  queryString,
  type Signing,
  signedHeaders,
} from "@cache-registry/runtime/cloud/aws-signature";
import type { Logger } from "@cache-registry/runtime/logger";
import type { RequestBody } from "../object-store/content.ts";
import { type Attempts, createRequests, type StoreRequest } from "../object-store/requests.ts";
import { textOf } from "../object-store/xml.ts";

export type S3Location = {
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** The bucket is the first part of the path; otherwise of the host name. */
  readonly pathStyle: boolean;
};

export type S3Body = RequestBody & { readonly sha256: string };

export type S3Request = {
  readonly method: StoreRequest["method"];
  /** Empty: the bucket itself. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: S3Body;
  readonly onDoubt?: Attempts["onDoubt"];
};

export type S3Client = {
  /**
   * A successful answer, whose body the caller reads or destroys. Tried again while the failure may pass.
   * @throws StoreResponseError, StoreConnectionError
   */
  send(request: S3Request): Promise<IncomingMessage>;
  /** The same with the body read. @throws also StoreProtocolError */
  text(request: S3Request): Promise<string>;
  /** Copies an object inside the bucket. */
  copy(from: string, to: string): Promise<void>;
  /** A URL from which anybody may read the object for so many seconds. */
  presign(key: string, expiresIn: number): Promise<string>;
  close(): void;
};

export type S3ClientDeps = {
  readonly location: S3Location;
  readonly credentials: () => Promise<AwsCredentials>;
  /** They were refused: others are wanted. */
  readonly refuse?: ((refused: AwsCredentials) => void) | undefined;
  readonly logger?: Logger | undefined;
};

/** What S3 says of credentials that are over, withdrawn, or half replaced ("List of error codes"). */
const REFUSED: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "InvalidToken",
  "TokenRefreshRequired",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
]);

export function createS3Client({ location, credentials, refuse, logger }: S3ClientDeps): S3Client {
  const { region, endpoint } = location;
  const requests = createRequests({
    endpoint,
    // The Message of the document may repeat headers of the request; the code says enough.
    codeOf: (_answer, body) => textOf(body, "Code"),
    isError: (text) => /^(?:\s*<\?xml[^>]*\?>)?\s*<Error>/.test(text),
    logger,
  });

  const signing = (used: AwsCredentials): Signing => ({ credentials: used, region, service: "s3", now: new Date() });

  function signed({ method, key, query, headers, body }: S3Request, used: AwsCredentials): StoreRequest {
    const url = urlOf(location, key, query);
    const signable = { method, url, headers: headers ?? {}, payloadSha256: body?.sha256 ?? EMPTY_SHA256 };
    return { method, url, headers: signedHeaders(signable, signing(used)), body };
  }

  function attempts(request: S3Request): Attempts {
    const { method, onDoubt } = request;
    let used: AwsCredentials | undefined;
    return {
      method,
      what: describe(request),
      async request() {
        used = await credentials();
        return signed(request, used);
      },
      async renewed({ code }) {
        if (!used || !REFUSED.has(code)) return false;
        refuse?.(used);
        return !isDeepStrictEqual(await credentials(), used);
      },
      onDoubt,
    };
  }

  return {
    send: (request) => requests.send(attempts(request)),
    text: (request) => requests.text(attempts(request)),
    async copy(from, to) {
      const source = `/${location.bucket}/${from}`.split("/").map(encodeStrictly).join("/");
      await requests.text(attempts({ method: "PUT", key: to, headers: { "x-amz-copy-source": source } }));
    },
    presign: async (key, expiresIn) => presignedUrl(urlOf(location, key), expiresIn, signing(await credentials())),
    close: () => requests.close(),
  };
}

/** For messages: no host, no query. */
function describe({ method, key, query }: S3Request): string {
  const parameters = Object.keys(query ?? {});
  return `${method} ${key === "" ? "the bucket" : key}${parameters.length > 0 ? ` (${parameters.join(", ")})` : ""}`;
}

function urlOf({ endpoint, bucket, pathStyle }: S3Location, key: string, query: Record<string, string> = {}): URL {
  const url = new URL(endpoint);
  const base = url.pathname.replace(/\/$/, "");
  if (!pathStyle) url.host = `${bucket}.${url.host}`;
  url.pathname = `${base}${pathStyle ? `/${bucket}` : ""}/${key.split("/").map(encodeStrictly).join("/")}`;
  url.search = queryString(query);
  return url;
}
