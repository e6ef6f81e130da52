import { parseByteSize, printByteSize } from "@cache-registry/core/byte-size";
import { isDigest } from "@cache-registry/core/digest";
import { sleep } from "@cache-registry/runtime/backoff";
import { type CommandOptions, EXIT_INTERRUPTED, interruption } from "@cache-registry/runtime/command";
import { ConfigError, loadConfig } from "@cache-registry/runtime/config";
import { createLogger } from "@cache-registry/runtime/logger";
import { z } from "zod";
import { RegistryConfig } from "../config.ts";
import { assertFilesReadable } from "../config-files.ts";
import { createManagementApi, type ManagementApi, openLocalManagement } from "../remote/management-api.ts";
import { createHealBlob } from "./heal-blob.ts";
import { openMaintenanceStores } from "./maintenance-stores.ts";
import { createProgressLine } from "./progress-line.ts";
import { createScrub, type ScrubOptions, type ScrubStatus } from "./scrub.ts";

/** Exit codes beside 0 (everything is good) and 1 (it could not be done). */
const EXIT_HEALED = 3;
const EXIT_LOST = 4;

const POLL_MS = 500;

const Count = z.number().int().nonnegative();
const Status = z.object({
  state: z.enum(["idle", "running", "done", "cancelled", "failed"]),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  blobs: Count,
  bytes: Count,
  checked: Count,
  checkedBytes: Count,
  position: z.string().nullable(),
  found: z.object({ restored: Count, refetched: Count, forgotten: Count, lost: Count }),
  findings: z.array(
    z.object({
      digest: z.string().refine((text) => isDigest(text)),
      size: Count,
      problem: z.enum(["damaged", "missing"]),
      action: z.enum(["restored", "refetched", "forgotten", "lost"]),
      images: z.array(z.string()),
    }),
  ),
  error: z.string().optional(),
});

/** A scrub somewhere: in the process that serves, or in this one. */
type Session = {
  start(options: ScrubOptions): Promise<ScrubStatus>;
  status(): Promise<ScrubStatus>;
  cancel(): Promise<ScrubStatus>;
  close(): Promise<void>;
};

/**
 * `cache-registry scrub`: verifies every digest at rest, through the registry that runs with this configuration, or in the
 * stores themselves when none does. Sets the exit code. @throws ConfigError
 */
export async function runScrub({ file, env, values = {} }: CommandOptions): Promise<void> {
  const config = loadConfig({ schema: RegistryConfig, file, env });
  assertFilesReadable(config);
  const options = optionsOf(values);
  const session = (await remoteSession(config)) ?? (await localSession(config));
  try {
    const status = await follow(session, options);
    report(status, values.json === true);
    process.exitCode = exitCodeOf(status);
  } finally {
    await session.close();
  }
}

function optionsOf(values: NonNullable<CommandOptions["values"]>): ScrubOptions {
  const problems: string[] = [];
  const rate = typeof values.rate === "string" ? parseByteSize(values.rate) : undefined;
  if (values.rate !== undefined && !rate) problems.push('--rate: expected bytes per second such as "100Mi"');
  const after = typeof values.after === "string" ? values.after : undefined;
  if (after !== undefined && !isDigest(after)) problems.push("--after: expected a digest");
  if (problems.length > 0) throw new ConfigError(problems, "the command line");
  return { ...(rate === undefined ? {} : { rate }), ...(after === undefined ? {} : { after }) };
}

/** Undefined when nothing listens there. */
async function remoteSession(config: RegistryConfig): Promise<Session | undefined> {
  const http = await openLocalManagement(config);
  const api: ManagementApi = createManagementApi(http);
  const ask = (method: "GET" | "POST" | "DELETE", body?: ScrubOptions) =>
    api.call(method, "/api/v1/scrub", { answer: Status, ...(body ? { body } : {}) }) as Promise<ScrubStatus>;
  try {
    await ask("GET");
  } catch (error) {
    http.close();
    if (error instanceof Error && "code" in error && error.code === "ECONNREFUSED") return undefined;
    throw error;
  }
  process.stderr.write("a registry is running: it scrubs its own store\n");
  return {
    start: (options) => ask("POST", options),
    status: () => ask("GET"),
    cancel: () => ask("DELETE"),
    close: async () => http.close(),
  };
}

async function localSession(config: RegistryConfig): Promise<Session> {
  const logger = createLogger({ component: "scrub", level: "error" });
  const stores = await openMaintenanceStores(config, logger);
  const heal = createHealBlob({ ...stores, airGapped: config.airGapped, logger });
  const scrub = createScrub({ ...stores, heal, logger });
  return {
    start: async (options) => scrub.start(options),
    status: async () => scrub.status(),
    cancel: () => scrub.cancel(),
    close: () => stores.close(),
  };
}

/** Shows how far it is until it ends; Ctrl-C ends it. */
async function follow(session: Session, options: ScrubOptions): Promise<ScrubStatus> {
  const interrupted = interruption();
  const line = createProgressLine();
  let status = await session.start(options);
  while (status.state === "running") {
    const { checkedBytes, bytes, findings } = status;
    line.show(`${printByteSize(checkedBytes)} of ${printByteSize(bytes)} verified, ${findings.length} findings`);
    await sleep(POLL_MS, interrupted).catch(() => undefined);
    status = await (interrupted.aborted ? session.cancel() : session.status());
  }
  line.end();
  return status;
}

const MEANING: Readonly<Record<ScrubStatus["findings"][number]["action"], string>> = {
  restored: "written anew from memory",
  refetched: "fetched again",
  forgotten: "cached: the next pull fetches it",
  lost: "LOST: push or import it again",
};

function report(status: ScrubStatus, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(status)}\n`);
    return;
  }
  const lines = status.findings.map(
    ({ digest, problem, action, images }) =>
      `${problem} ${digest}: ${MEANING[action]} (${images.join(", ") || "unused"})`,
  );
  const { state, checked, checkedBytes, found, position, error } = status;
  lines.push(`${checked} blobs, ${printByteSize(checkedBytes)} verified`);
  lines.push(
    `restored ${found.restored}, refetched ${found.refetched}, forgotten ${found.forgotten}, lost ${found.lost}`,
  );
  if (error !== undefined) lines.push(`failed: ${error}`);
  if (state !== "done" && position !== null) lines.push(`to go on from here: --after ${position}`);
  process.stdout.write(`${lines.join("\n")}\n`);
}

function exitCodeOf({ state, found }: ScrubStatus): number {
  if (state === "cancelled") return EXIT_INTERRUPTED;
  if (state !== "done") return 1;
  if (found.lost > 0) return EXIT_LOST;
  return found.restored + found.refetched + found.forgotten > 0 ? EXIT_HEALED : 0;
}
