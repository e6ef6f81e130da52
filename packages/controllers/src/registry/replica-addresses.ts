import { lookup } from "node:dns/promises";

/** The addresses behind a headless Service, as the cluster's DNS says at each call: pods come and go. */
export function replicasAt(host: string | undefined): (() => Promise<readonly string[]>) | undefined {
  if (host === undefined) return undefined;
  return async () => (await lookup(host, { all: true })).map(({ address }) => address);
}
