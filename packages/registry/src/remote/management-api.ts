import { readFile } from "node:fs/promises";
import { createSecretFile } from "@cache-registry/runtime/secret";
import type { z } from "zod";
import type { RegistryConfig } from "../config.ts";
import { createHttpClient, type HttpClient, refusalOf, textOf } from "./http-client.ts";

/** JSON in, JSON out. @throws HttpRefusal, or the Error of the connection */
export type ManagementApi = {
  readonly http: HttpClient;
  call<Schema extends z.ZodType>(
    method: "GET" | "POST" | "PUT" | "DELETE",
    path: string,
    options: { readonly body?: unknown; readonly answer: Schema; readonly signal?: AbortSignal },
  ): Promise<z.output<Schema>>;
};

export function createManagementApi(client: HttpClient): ManagementApi {
  return {
    http: client,
    async call(method, path, { body, answer: schema, signal }) {
      const answer = await client.send({
        method,
        path,
        ...(signal ? { signal } : {}),
        ...(body === undefined
          ? {}
          : { body: Buffer.from(JSON.stringify(body)), headers: { "content-type": "application/json" } }),
      });
      if ((answer.statusCode ?? 0) >= 300) throw await refusalOf(answer);
      const text = await textOf(answer);
      return schema.parse(text === "" ? undefined : JSON.parse(text));
    },
  };
}

const EVERYWHERE: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** Where a process on this machine with this configuration listens. */
export function localUrl({ host, port, tls }: RegistryConfig["listen"]): string {
  const name = EVERYWHERE[host] ?? host;
  return `${tls ? "https" : "http"}://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

/** The management API of the process that runs with this configuration, on this machine. */
export async function openLocalManagement({ management }: RegistryConfig): Promise<HttpClient> {
  const token = management.tokenFile === undefined ? undefined : createSecretFile(management.tokenFile);
  return createHttpClient({
    url: localUrl(management),
    authorization: token && (async () => `Bearer ${await token.read()}`),
    ...(management.tls ? { ca: await readFile(management.tls.certFile, "utf8"), pinned: true } : {}),
  });
}
