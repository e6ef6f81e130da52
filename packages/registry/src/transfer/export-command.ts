import { printByteSize } from "@cache-registry/core/byte-size";
import { type ImageReference, parseImageReference } from "@cache-registry/core/image-reference";
import { type Platform, parsePlatform } from "@cache-registry/core/platform";
import { type CommandOptions, EXIT_INTERRUPTED, interruption } from "@cache-registry/runtime/command";
import { createProgressLine } from "../maintenance/progress-line.ts";
import { type CommandLine, type Connections, connect, readCommandLine } from "./connections.ts";
import { type ContentClient, createContentClient } from "./content-client.ts";
import { exportImages } from "./export-images.ts";
import { createLayoutWriter } from "./open-layout.ts";
import { createRegistrySource, type RegistrySource } from "./registry-source.ts";

/**
 * `cache-registry export`: writes images of a running registry to an OCI image layout, a folder or a tar archive. Sets the
 * exit code. @throws ConfigError
 */
export async function runExport(options: CommandOptions): Promise<void> {
  const line = readCommandLine(options.values);
  const wishes = wishesOf(line);
  const connections = await connect(line, options);
  const signal = interruption();
  const progress = createProgressLine();
  const source = createRegistrySource(connections.registry);
  const layout = await createLayoutWriter(wishes.output, (name) => progress.show(`verifying what is there: ${name}`));
  try {
    const report = await exportImages(references(wishes, { source, connections }), {
      source,
      layout,
      signal,
      platforms: wishes.platforms,
      referrers: wishes.referrers,
      isHeld: wishes.everyPlatform ? undefined : heldBy(connections),
      onProgress: ({ image, written, found }) =>
        progress.show(`${image}: ${printByteSize(written)} written, ${printByteSize(found)} were there`),
    });
    progress.end();
    for (const image of report.exported) process.stdout.write(`${image}\n`);
    for (const { image, reason } of report.failed) process.stderr.write(`not exported: ${image}: ${reason}\n`);
    process.stderr.write(`${report.exported.length} images in ${wishes.output}, ${report.failed.length} failed\n`);
    process.exitCode = report.failed.length > 0 ? 1 : 0;
  } catch (error) {
    progress.end();
    if (!signal.aborted) throw error;
    process.stderr.write("interrupted: the same command goes on from here\n");
    process.exitCode = EXIT_INTERRUPTED;
  } finally {
    await layout.close();
    connections.close();
  }
}

type Wishes = {
  readonly images: readonly ImageReference[];
  readonly allCached: boolean;
  readonly used: boolean;
  readonly output: string;
  readonly platforms: readonly Platform[];
  readonly referrers: boolean;
  /** Not only those that are held. */
  readonly everyPlatform: boolean;
};

/** @throws ConfigError */
function wishesOf(line: CommandLine): Wishes {
  const images = line.texts("images").flatMap((text) => {
    const reference = parseImageReference(text);
    if (!reference) line.complain(`--images: ${text} is not an image reference`);
    return reference ? [reference] : [];
  });
  const platforms = line.texts("platform").flatMap((text) => {
    const platform = parsePlatform(text);
    if (!platform) line.complain(`--platform: expected os/architecture[/variant] instead of ${text}`);
    return platform ? [platform] : [];
  });
  const [allCached, used] = [line.flag("all-cached"), line.flag("used")];
  if (images.length === 0 && !allCached && !used) line.complain("say what: --images, --all-cached or --used");
  const output = line.text("output") ?? "";
  if (output === "") line.complain("--output: a folder, or a file that ends in .tar");
  if (used && line.text("url") !== undefined && line.text("management-url") === undefined) {
    line.complain("--used needs --management-url");
  }
  line.check();
  const everyPlatform = platforms.length > 0 || (!allCached && !used);
  return { images, allCached, used, output, platforms, referrers: line.flag("referrers"), everyPlatform };
}

type Ways = { readonly source: RegistrySource; readonly connections: Connections };

async function* references(wishes: Wishes, { source, connections }: Ways): AsyncGenerator<ImageReference> {
  yield* wishes.images;
  if (wishes.allCached) yield* parsed(source.cachedTags());
  const { management } = connections;
  if (management && (wishes.used || wishes.allCached)) yield* parsed(createContentClient(management).wanted());
}

async function* parsed(texts: AsyncIterable<string>): AsyncGenerator<ImageReference> {
  for await (const text of texts) {
    const reference = parseImageReference(text);
    if (reference) yield reference;
  }
}

function heldBy({ management }: Connections): ContentClient["hasManifest"] | undefined {
  if (!management) return undefined;
  const content = createContentClient(management);
  return (name, digest) => content.hasManifest(name, digest);
}
