import { makeImage } from "../../support/test-content.ts";
import { type Figure, measure, OURS } from "../measure.ts";
import type { Scene } from "../scene.ts";

const CLIENTS = 50;
const BYTES_PER_SECOND = 10_000_000;
const LAYER = 1024 * 1024;

/** Many clients, one image that nobody has asked for before, a slow upstream. */
export async function coldImage(scene: Scene): Promise<Figure[]> {
  const { origin, upstream, client } = scene;
  let images = 0;
  let fetches = 0;
  const pull = async (base: string, prefix: string, clients: number) => {
    images += 1;
    const repository = `bench/cold-${images}`;
    await origin.pushImage(repository, "latest", makeImage([LAYER, LAYER, LAYER, LAYER]));
    upstream.reset();
    upstream.throttle(BYTES_PER_SECOND);
    const job = { kind: "pull", base, repository: prefix + repository, reference: "latest", clients } as const;
    const [seconds = Number.NaN] = await client.run(job);
    upstream.throttle(undefined);
    return seconds;
  };
  const ours = async () => {
    const seconds = await pull(scene.ours.url, "up/", CLIENTS);
    const blobs = Object.entries(upstream.counts()).filter(([key]) => /^GET .*\/blobs\//.test(key));
    fetches = Math.max(fetches, ...blobs.map(([, { requests }]) => requests));
    return seconds;
  };
  const alone = { peer: "one client alone", run: () => pull(scene.ours.url, "up/", 1) };
  const figure = await measure({
    name: `${CLIENTS} clients, one cold image of 4 × 1 MiB, upstream at 10 MB/s`,
    unit: "s",
    better: "lower",
    goals: [
      { peer: "one client alone", factor: 1.3 },
      { peer: "distribution as a proxy", factor: 0.1 },
    ],
    repetitions: 5,
    warmUp: false,
    contenders: [
      { peer: OURS, run: ours },
      alone,
      { peer: "distribution as a proxy", run: () => pull(scene.distributionProxy.url, "", CLIENTS) },
    ],
  });
  return [{ ...figure, note: `GETs of one blob at the upstream, at most: ${fetches}` }];
}
