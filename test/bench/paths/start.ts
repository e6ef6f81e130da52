import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fillWithManifests } from "../data/filled-store.ts";
import { type Figure, measure, OURS } from "../measure.ts";
import { ourData, startOurs } from "../peers.ts";

const REPOSITORIES = 10_000;
const MANIFESTS = 100_000;

/** From the start of the bundled process to /readyz, with much in the store. */
export async function start(): Promise<Figure[]> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-start-"));
  try {
    await mkdir(ourData(dir), { recursive: true });
    await fillWithManifests(ourData(dir), {
      repositories: REPOSITORIES,
      manifestsEach: MANIFESTS / REPOSITORIES,
      tags: 0,
    });
    const run = async (at: string) => {
      const peer = await startOurs({ dir: at });
      await peer.stop();
      return peer.readyAfter;
    };
    const empty = join(dir, "empty");
    const figure = await measure({
      name: `start to ready, ${REPOSITORIES.toLocaleString("en-US")} repositories, ${MANIFESTS.toLocaleString("en-US")} manifests`,
      unit: "ms",
      better: "lower",
      goals: [{ limit: 1_000 }],
      repetitions: 5,
      contenders: [
        { peer: OURS, run: () => run(dir) },
        { peer: "the same, empty", run: () => run(empty) },
      ],
    });
    return [figure];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
