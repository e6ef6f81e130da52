/** Calls of the registry's management API from this machine, over HTTPS where the registry serves it. */
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { text } from "node:stream/consumers";

export interface ManagementAddress {
  readonly host: string;
  readonly token: string;
  /** HTTPS: whom to trust (PEM), and the name in the certificate. */
  readonly tls?: { readonly ca: string; readonly servername: string };
}

export interface ManagementRequest {
  readonly method?: string;
  readonly body?: unknown;
}

export async function callManagement(
  { host, token, tls }: ManagementAddress,
  path: string,
  { method = "GET", body }: ManagementRequest = {},
): Promise<{ status: number; body: unknown }> {
  const headers = {
    authorization: `Bearer ${token}`,
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  };
  const options = { host, port: 8081, path: `/api/v1${path}`, method, headers, agent: false, ...tls };
  return new Promise((resolve, reject) => {
    const call = (tls ? requestHttps : requestHttp)(options, (response) => {
      text(response)
        .then((answer) => ({
          status: response.statusCode ?? 0,
          body: answer === "" ? undefined : (JSON.parse(answer) as unknown),
        }))
        .then(resolve, reject);
    });
    call.once("error", reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
