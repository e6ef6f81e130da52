import { type Logger, silentLogger } from "@cache-registry/runtime/logger";
import { afterEach, expect } from "vitest";
import { createUpstreamClient, type UpstreamClient, type UpstreamClientOptions } from "../client.ts";
import { upstreamListSchema } from "../upstream.ts";

type Shape = Partial<Omit<UpstreamClientOptions, "upstreams" | "logger">> & {
  readonly logger?: Logger | undefined;
  /** Laid over `entry`. */
  readonly upstream?: object | undefined;
};

/** For tests: makes clients of the one upstream that `entry` configures; they are closed after each test. */
export function useClients(entry: () => object): (shape?: Shape) => UpstreamClient {
  const clients: UpstreamClient[] = [];
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
  });
  return ({ upstream = {}, policy = "public", logger = silentLogger(), ...rest } = {}) => {
    const upstreams = upstreamListSchema.parse([{ ...entry(), ...upstream }]);
    const client = createUpstreamClient({ upstreams, policy, logger, ...rest });
    clients.push(client);
    return client;
  };
}

/** Short enough to be waited for. */
export const QUICK = { connect: "1s", headers: "500ms", idle: "500ms" };

export function failure(fields: object): unknown {
  return expect.objectContaining({ name: "UpstreamError", ...fields });
}
