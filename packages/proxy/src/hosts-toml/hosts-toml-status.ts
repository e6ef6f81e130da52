import type { Health } from "@cache-registry/runtime/health";
import type { Service } from "@cache-registry/runtime/lifecycle";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { type HostsToml, troubleOf } from "./hosts-toml.ts";
import type { ProbeResult } from "./probe-pull.ts";

export type HostsTomlStatus = Service & {
  /** A request came by `?ns=`: containerd reads the files. */
  readonly mirrored: () => void;
};

export type HostsTomlStatusOptions = {
  /** Undefined: the proxy does not look after such files. */
  readonly hostsToml: HostsToml | undefined;
  readonly directory: string;
  /** Of a probe pull, where there was one. */
  readonly probed: () => Promise<ProbeResult | undefined>;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

/** Writes the files at the start where that is still to be done, and says how they stand ever after. */
export function createHostsTomlStatus(options: HostsTomlStatusOptions): HostsTomlStatus {
  const { hostsToml, directory, probed, health, metrics, logger } = options;
  let seen = false;
  const requests = metrics.counter({
    name: "proxy_mirror_requests_total",
    help: "Requests that named their registry by ?ns=, as containerd does by its hosts.toml",
  });
  if (hostsToml) {
    metrics.gauge({
      name: "proxy_hosts_toml",
      help: "1 for each registry and the state of its hosts.toml: ours, already (led here by the user), foreign, left-alone",
      labels: ["registry", "state"],
      async collect(gauge) {
        gauge.reset();
        for (const [registry, { state }] of await hostsToml.inspect()) gauge.set({ registry, state }, 1);
      },
    });
    metrics.gauge({
      name: "proxy_hosts_toml_verified",
      help: "1 when a pull has come from containerd by its hosts.toml, a probe or another",
      collect: async (gauge) => gauge.set((await whyUnverified()) === undefined ? 1 : 0),
    });
    // The cache is passed by at the worst, so neither makes the proxy unready.
    health.addCheck({ name: "hosts.toml", warnOnly: true, check: async () => troubleOf(await hostsToml.inspect()) });
    health.addCheck({ name: "containerd", warnOnly: true, check: whyUnverified });
  }

  async function whyUnverified(): Promise<string | undefined> {
    if (seen) return undefined;
    const { verified, why } = (await probed()) ?? { verified: false };
    const unseen = `no pull has come from containerd yet; it does when its config_path is ${directory}`;
    return verified ? undefined : (why ?? unseen);
  }

  return {
    name: "hosts.toml",
    async start() {
      if (!hostsToml) return;
      const trouble = troubleOf(await hostsToml.apply());
      if (trouble === undefined) logger.info({ directory }, "containerd is led to this proxy");
      else logger.warn({ directory, trouble }, "containerd is not led to this proxy for every registry");
    },
    mirrored() {
      requests.inc();
      if (!seen && hostsToml) logger.info("containerd reads its hosts.toml: a pull has come by it");
      seen = true;
    },
  };
}
