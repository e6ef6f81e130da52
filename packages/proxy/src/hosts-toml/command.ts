import { readFile, writeFile } from "node:fs/promises";
import type { Logger } from "@cache-registry/runtime/logger";
import type { ProxyConfig } from "../config.ts";
import { createHostsToml, type HostsToml, type Report, troubleOf } from "./hosts-toml.ts";
import { type ProbeResult, probePull } from "./probe-pull.ts";

/** Something was left alone, because somebody else has changed it. */
const EXIT_LEFT_ALONE = 3;

/** How containerd on this node reaches the proxy. */
function proxyUrl({ hosts, port }: ProxyConfig["listen"]): string {
  const [first = "127.0.0.1"] = hosts;
  if (hosts.some((host) => ["127.0.0.1", "0.0.0.0", "::"].includes(host))) return `http://127.0.0.1:${port}`;
  return `http://${first.includes(":") ? `[${first}]` : first}:${port}`;
}

export function hostsTomlOf({ hostsToml: { directory, registries }, listen }: ProxyConfig): HostsToml {
  return createHostsToml({ directory, registries, url: proxyUrl(listen) });
}

function logReport(logger: Logger, report: Report): void {
  if (report.size === 0) logger.info("no hosts.toml leads to the proxy: all are as they were before");
  for (const [registry, { state, why }] of report) logger.info({ registry, state, why }, "hosts.toml");
}

/**
 * `--write-hosts-toml`: makes the files what the configuration says, for where that needs other rights than the proxy has;
 * not `enabled` means as they were before. Never fails because of them: the proxy that comes next tells what is wrong, and
 * without it containerd goes to the upstreams.
 */
export async function writeHostsToml(config: ProxyConfig, logger: Logger): Promise<number> {
  const files = hostsTomlOf(config);
  const { enabled, directory, probe } = config.hostsToml;
  logReport(logger, enabled ? await files.apply() : await files.remove());
  if (!enabled || !probe) return 0;
  const result = await probePull({ socket: probe.criSocket, directory });
  logger[result.verified ? "info" : "warn"]({ directory, ...result }, "probe pull of containerd");
  await writeFile(probe.resultFile, JSON.stringify(result));
  return 0;
}

/** What the writer found out, of another process of this pod. Undefined: nothing. */
export async function readProbeResult({ hostsToml: { probe } }: ProxyConfig): Promise<ProbeResult | undefined> {
  if (!probe) return undefined;
  const text = await readFile(probe.resultFile, "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as ProbeResult);
}

/** `--remove-hosts-toml`: 0 when nothing of ours is left, 3 when files were left alone that somebody else changed. */
export async function removeHostsToml(config: ProxyConfig, logger: Logger): Promise<number> {
  const report = await hostsTomlOf(config).remove();
  logReport(logger, report);
  return troubleOf(report) === undefined ? 0 : EXIT_LEFT_ALONE;
}
