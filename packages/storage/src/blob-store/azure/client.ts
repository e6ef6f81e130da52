import type { IncomingMessage } from "node:http";
import { encodeStrictly } from "@cache-registry/runtime/cloud/aws-signature";
import type { Logger } from "@cache-registry/runtime/logger";
import type { RequestBody } from "../object-store/content.ts";
import { isTokenRenewed } from "../object-store/renewed-token.ts";
import { type Attempts, createRequests, type StoreRequest } from "../object-store/requests.ts";
import { type AzureCredentials, readSignature, sharedKeyHeader } from "./authorization.ts";

export type AzureLocation = {
  readonly account: string;
  /** With the account in the host name or the path, without a slash at the end. */
  readonly endpoint: string;
  readonly container: string;
};

export type BlobRequest = {
  readonly method: StoreRequest["method"];
  /** Empty: the container itself. */
  readonly name: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  readonly accept?: Attempts["accept"];
};

/** Client of Blob storage. @throws StoreResponseError, StoreConnectionError, StoreProtocolError, IdentityError */
export type AzureClient = {
  /** A successful answer, whose body the caller reads or destroys. Tried again while the failure may pass. */
  send(request: BlobRequest): Promise<IncomingMessage>;
  /** The same with the body read. */
  text(request: BlobRequest): Promise<string>;
  /** Where a copy inside the account may read a blob. */
  sourceUrl(name: string): Promise<string>;
  /** A URL from which anybody may read the blob for so many seconds. Only with the account's key. */
  presign(key: string, name: string, expiresIn: number): string;
  close(): void;
};

export type AzureClientDeps = {
  readonly location: AzureLocation;
  readonly credentials: AzureCredentials;
  readonly logger?: Logger | undefined;
};

/** Of the protocol: blocks of up to 4,000 MiB, and what every emulator of today knows. */
const VERSION = "2021-12-02";

export function createAzureClient({ location, credentials, logger }: AzureClientDeps): AzureClient {
  const { account, container, endpoint } = location;
  const requests = createRequests({
    endpoint,
    // Also in answers to HEAD, which have no body.
    codeOf: (answer) => [answer.headers["x-ms-error-code"]].flat()[0],
    logger,
  });

  function urlOf(name: string, query: Readonly<Record<string, string>> = {}): URL {
    const url = new URL(
      `${endpoint}/${[container, ...name.split("/")].map(encodeStrictly).join("/").replace(/\/$/, "")}`,
    );
    for (const [parameter, value] of Object.entries(query)) url.searchParams.set(parameter, value);
    return url;
  }

  async function addSignature(url: URL, token: string): Promise<URL> {
    for (const [name, value] of new URLSearchParams(token)) url.searchParams.set(name, value);
    return url;
  }

  async function authorized(
    { method, name, query, headers = {}, body }: BlobRequest,
    token: string,
  ): Promise<StoreRequest> {
    const url = urlOf(name, query);
    const dated = { ...headers, "x-ms-version": VERSION, "x-ms-date": new Date().toUTCString() };
    switch (credentials.kind) {
      case "sas":
        return { method, url: await addSignature(url, await credentials.token()), headers: dated, body };
      case "identity":
        return { method, url, headers: { ...dated, authorization: `Bearer ${token}` }, body };
      case "key": {
        const signable = { method, url, headers: dated, length: body?.length ?? 0 };
        const authorization = sharedKeyHeader(account, await credentials.key(), signable);
        return { method, url, headers: { ...dated, authorization }, body };
      }
    }
  }

  function attempts(request: BlobRequest): Attempts {
    const { method, name, query, accept } = request;
    const operation = query?.comp === undefined ? "" : ` (${query.comp})`;
    const tokens = credentials.kind === "identity" ? credentials.tokens : undefined;
    let token = "";
    return {
      method,
      what: `${method} ${name === "" ? "the container" : name}${operation}`,
      async request() {
        if (tokens) token = (await tokens.token()).value;
        return authorized(request, token);
      },
      renewed: tokens && (({ status }) => isTokenRenewed(tokens, token, status)),
      ...(accept && { accept }),
    };
  }

  return {
    send: (request) => requests.send(attempts(request)),
    text: (request) => requests.text(attempts(request)),
    async sourceUrl(name) {
      const url = urlOf(name);
      return (credentials.kind === "sas" ? await addSignature(url, await credentials.token()) : url).href;
    },
    presign(key, name, expiresIn) {
      const expiresAt = new Date(Date.now() + expiresIn * 1_000);
      return `${urlOf(name).href}?${readSignature(key, { account, container, name, expiresAt }).toString()}`;
    },
    close: () => requests.close(),
  };
}
