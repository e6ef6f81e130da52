import { parseArgs } from "node:util";
import { runMain } from "@cache-registry/runtime/lifecycle";

type Run = (options: {
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}) => Promise<void>;

/** Loaded only when asked for: the registry, the webhook and the proxy never pay for the Kubernetes client. */
const COMMANDS: Readonly<Record<string, () => Promise<Run>>> = {
  registry: async () => (await import("@cache-registry/registry/main")).runRegistry,
  webhook: async () => (await import("@cache-registry/webhook/main")).runWebhook,
  controllers: async () => (await import("@cache-registry/controllers/main")).runControllers,
  proxy: async () => (await import("@cache-registry/proxy/main")).runProxy,
};

const USAGE = `usage: cache-registry <${Object.keys(COMMANDS).join(" | ")}> [--config FILE]`;

function fail(message: string): never {
  process.stderr.write(`${message}\n${USAGE}\n`);
  process.exit(2);
}

function parse(): { command: string | undefined; file: string | undefined } {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: { config: { type: "string" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help) {
      process.stdout.write(`${USAGE}\n`);
      process.exit(0);
    }
    if (positionals.length > 1) fail(`unexpected argument ${positionals[1]}`);
    return { command: positionals[0], file: values.config };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

const { command, file } = parse();
const load = command !== undefined && Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
if (!load) fail(command === undefined ? "a command is missing" : `unknown command ${command}`);
await runMain(async () => (await load())({ file, env: process.env }));
