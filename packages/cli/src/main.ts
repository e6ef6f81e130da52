import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { runMain } from "@cache-registry/runtime/lifecycle";
import { OPTIONS, usageOf } from "./options.ts";

type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
type Run = (options: {
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly values?: Values;
}) => Promise<void>;

/** Loaded only when asked for: the registry, the webhook and the proxy never pay for the Kubernetes client. */
const COMMANDS: Readonly<Record<string, () => Promise<Run>>> = {
  registry: async () => (await import("@cache-registry/registry/main")).runRegistry,
  webhook: async () => (await import("@cache-registry/webhook/main")).runWebhook,
  controllers: async () => (await import("@cache-registry/controllers/main")).runControllers,
  proxy: async () => (await import("@cache-registry/proxy/main")).runProxy,
  scrub: async () => (await import("@cache-registry/registry/maintenance/scrub-command")).runScrub,
  rebuild: async () => (await import("@cache-registry/registry/maintenance/rebuild-command")).runRebuild,
  export: async () => (await import("@cache-registry/registry/transfer/export-command")).runExport,
  restore: async () => (await import("@cache-registry/controllers/uninstall/restore-command")).runRestore,
  migrate: async () => (await import("@cache-registry/controllers/migrate/migrate-command")).runMigrate,
  import: async () => (await import("@cache-registry/registry/transfer/import-command")).runImport,
};

const USAGE = `usage: cache-registry <${Object.keys(COMMANDS).join(" | ")}> [--config FILE]`;

function fail(message: string, command?: string): never {
  process.stderr.write(`${message}\n${usage(command)}\n`);
  process.exit(2);
}

function usage(command: string | undefined): string {
  return command === undefined ? USAGE : usageOf(command);
}

function parse(command: string | undefined, args: readonly string[]): Values {
  const known: ParseArgsOptionsConfig = { config: { type: "string" }, help: { type: "boolean", short: "h" } };
  const options = { ...known, ...(command === undefined ? {} : OPTIONS[command]) };
  try {
    const { positionals, values } = parseArgs({ args: [...args], allowPositionals: true, options });
    if (values.help) {
      process.stdout.write(`${usage(command)}\n`);
      process.exit(0);
    }
    const [extra] = positionals;
    if (extra !== undefined) {
      fail(command === undefined ? `unknown command ${extra}` : `unexpected argument ${extra}`, command);
    }
    return values;
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error), command);
  }
}

const args = process.argv.slice(2);
// Before the options or behind them: `--config FILE registry` has always worked.
const index = Object.hasOwn(COMMANDS, args[0] ?? "") ? 0 : args.findIndex((arg) => Object.hasOwn(COMMANDS, arg));
const command = args[index];
const values = parse(command, args.toSpliced(index < 0 ? args.length : index, 1));
const load = command === undefined ? undefined : COMMANDS[command];
if (!load) fail("a command is missing");
const file = typeof values.config === "string" ? values.config : undefined;
await runMain(async () => (await load())({ file, env: process.env, values }));
