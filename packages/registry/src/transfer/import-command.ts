import { basename } from "node:path";
import { printByteSize } from "@cache-registry/core/byte-size";
import { parseImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import { type CommandOptions, EXIT_INTERRUPTED, interruption } from "@cache-registry/runtime/command";
import { createProgressLine } from "../maintenance/progress-line.ts";
import { type CommandLine, connect, readCommandLine } from "./connections.ts";
import { createContentClient } from "./content-client.ts";
import { importImages } from "./import-images.ts";
import { planImport, type Renaming } from "./import-plan.ts";
import { openLayout } from "./open-layout.ts";

/**
 * `cache-registry import`: brings the images of an OCI image layout into a running registry, under their upstreams' names,
 * and pins them. Sets the exit code. @throws ConfigError
 */
export async function runImport(options: CommandOptions): Promise<void> {
  const line = readCommandLine(options.values);
  const { input, owner, renamings } = wishesOf(line);
  const connections = await connect(line, options);
  const { management } = connections;
  if (!management) throw new Error("an import goes through the management API: name it with --management-url");
  const signal = interruption();
  const progress = createProgressLine();
  const layout = await openLayout(input);
  try {
    const plan = await planImport(layout, renamings);
    const content = createContentClient(management, signal);
    const onProgress = (phase: string, done: number, total: number): void =>
      progress.show(`${printByteSize(done)} of ${printByteSize(total)} ${phase}`);
    const imported = await importImages(plan, { layout, content, owner, signal, onProgress });
    progress.end();
    for (const reference of imported) process.stdout.write(`${reference}\n`);
    for (const digest of plan.nameless) process.stderr.write(`left out, as it has no name: ${digest}\n`);
    process.stderr.write(`${imported.length} images imported, pinned for the owner ${owner}\n`);
  } catch (error) {
    progress.end();
    if (!signal.aborted) throw error;
    process.stderr.write("interrupted: the same command sends the rest\n");
    process.exitCode = EXIT_INTERRUPTED;
  } finally {
    await layout.close();
    connections.close();
  }
}

type Wishes = { readonly input: string; readonly owner: string; readonly renamings: readonly Renaming[] };

/** @throws ConfigError */
function wishesOf(line: CommandLine): Wishes {
  const input = line.text("input") ?? "";
  if (input === "") line.complain("--input: the folder or the .tar file of an OCI image layout");
  const renamings = line.texts("as").flatMap((text): Renaming[] => {
    const equals = text.indexOf("=");
    const to = parseImageReference(text.slice(equals + 1));
    if (!to) line.complain(`--as: expected NAME or OLD=NAME instead of ${text}`);
    return to ? [{ from: equals < 0 ? undefined : text.slice(0, equals), to: withDefaultTag(to) }] : [];
  });
  const name =
    line.text("name") ??
    basename(input)
      .replace(/\.tar$/, "")
      .replace(/[^A-Za-z0-9._-]/g, "-");
  if (input !== "" && !/^[A-Za-z0-9._-]{1,100}$/.test(name)) line.complain("--name: letters, digits, `.`, `_` and `-`");
  line.check();
  return { input, owner: `import:${name}`, renamings };
}
