/** `npm start`: the whole main job on a real cluster, told as it happens. `--once` ends after the story. */
import { parseArgs } from "node:util";
import { installRelease } from "../stage/release.ts";
import { openStage, type Stage } from "../stage/stage.ts";
import { howToLookAround } from "./look-around.ts";
import { createNarrator } from "./narrator.ts";
import { tellStory } from "./story.ts";

const { values } = parseArgs({ options: { once: { type: "boolean", default: false } } });
const narrator = createNarrator();
const interrupted = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => resolve());
});
let over = false;
void interrupted.then(() => {
  over = true;
});

let opening: Promise<Stage> | undefined;
async function perform(): Promise<void> {
  narrator.chapter("The stage");
  opening = openStage({ log: (line) => narrator.detail(line) });
  const stage = await opening;
  if (over) return;
  narrator.say(
    "There is no Internet here: a real registry (CNCF distribution) on this machine stands in for docker.io.",
  );
  narrator.chapter("Installing charts/cache-registry with helm");
  const release = await installRelease({
    stage,
    values: { cachedImagesExpiryDelay: "10s", registry: { gc: { grace: "2s" } } },
  });
  const [{ size } = { size: 0 }] = stage.image.sizes;
  narrator.say(`helm says everything is ready; image ${(size / 2 ** 20).toFixed(0)} MiB compressed`);
  await tellStory({ stage, release, narrator });
  if (values.once) return;
  narrator.chapter("Look around (Ctrl-C ends it and leaves the machine clean)");
  for (const line of await howToLookAround(stage, release)) narrator.say(line);
  await interrupted;
}

try {
  await Promise.race([perform(), interrupted]);
} catch (error) {
  narrator.say(`It failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = 1;
} finally {
  narrator.chapter("Leaving the machine as it was");
  // Ctrl-C may come while it opens: what is half there ends by itself or is ended here. A second Ctrl-C does not wait.
  process.once("SIGINT", () => process.exit(130));
  const stage = await opening?.catch(() => undefined);
  await stage?.close();
  narrator.say("done");
}
process.exit();
