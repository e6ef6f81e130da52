import type { IncomingMessage } from "node:http";
import type { TokenSource } from "@cache-registry/runtime/cloud-identity/token-source";
import type { Logger } from "@cache-registry/runtime/logger";
import { z } from "zod";
import type { RequestBody } from "../object-store/content.ts";
import { StoreProtocolError } from "../object-store/errors.ts";
import { isTokenRenewed } from "../object-store/renewed-token.ts";
import { type Attempts, createRequests, type StoreRequest } from "../object-store/requests.ts";
import { textOf } from "../object-store/xml.ts";

export type GcsLocation = {
  /** Without a slash at the end. */
  readonly endpoint: string;
  readonly bucket: string;
};

export type GcsRequest = {
  readonly method: StoreRequest["method"];
  /** Below the endpoint, encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** For messages. */
  readonly what: string;
  readonly accept?: Attempts["accept"];
  readonly once?: boolean;
};

/** Client of the JSON API. @throws StoreResponseError, StoreConnectionError, StoreProtocolError, IdentityError */
export type GcsClient = {
  /** A successful answer, whose body the caller reads or destroys. Tried again while the failure may pass. */
  send(request: GcsRequest): Promise<IncomingMessage>;
  /** The same with the body read, which has to be of this form. */
  json<Schema extends z.ZodType>(request: GcsRequest, schema: Schema): Promise<z.output<Schema>>;
  close(): void;
};

export type GcsClientDeps = {
  readonly location: GcsLocation;
  /** None for servers that want none. */
  readonly tokens?: TokenSource | undefined;
  readonly logger?: Logger | undefined;
};

/** https://cloud.google.com/storage/docs/json_api/v1/status-codes */
const refusalSchema = z.object({
  error: z.object({ errors: z.array(z.object({ reason: z.string() })).min(1) }),
});

export function createGcsClient({ location, tokens, logger }: GcsClientDeps): GcsClient {
  const requests = createRequests({
    endpoint: location.endpoint,
    codeOf: (_answer, body) =>
      refusalSchema.safeParse(jsonOf(body)).data?.error.errors[0]?.reason ?? textOf(body, "Code"),
    logger,
  });

  function attempts({ method, path, query, headers = {}, body, what, ...more }: GcsRequest): Attempts {
    const url = new URL(`${location.endpoint}${path}`);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    let token = "";
    return {
      ...more,
      method,
      what: `${method} ${what}`,
      async request() {
        if (!tokens) return { method, url, headers, body };
        token = (await tokens.token()).value;
        return { method, url, headers: { ...headers, authorization: `Bearer ${token}` }, body };
      },
      renewed: tokens && (({ status }) => isTokenRenewed(tokens, token, status)),
    };
  }

  return {
    send: (request) => requests.send(attempts(request)),
    async json(request, schema) {
      const parsed = schema.safeParse(jsonOf(await requests.text(attempts(request))));
      if (!parsed.success) throw new StoreProtocolError(`the object store did not answer ${request.what} as a whole`);
      return parsed.data;
    },
    close: () => requests.close(),
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
