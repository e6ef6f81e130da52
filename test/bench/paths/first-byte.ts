import { type Image, makeImage } from "../../support/test-content.ts";
import { type Figure, measure, OURS } from "../measure.ts";
import type { Scene } from "../scene.ts";

const LAYER = 4 * 1024 * 1024;
const REPETITIONS = 21;

/** How much later the first byte comes than straight from the upstream, for content that nobody has asked for before. */
export async function firstByte({ client, origin, upstream, ours, distributionProxy }: Scene): Promise<Figure[]> {
  let images = 0;
  const ask = async (base: string, pathOf: (repository: string, image: Image) => string) => {
    images += 1;
    const repository = `bench/first-${images}`;
    const image = makeImage([LAYER]);
    await origin.pushImage(repository, "latest", image);
    const prefix = base === ours.url ? "up/" : "";
    const url = `${base}/v2/${prefix}${pathOf(repository, image)}`;
    const [milliseconds = Number.NaN] = await client.run({ kind: "firstByte", url });
    return milliseconds;
  };
  const figure = (what: string, pathOf: (repository: string, image: Image) => string) =>
    measure({
      name: `first byte of a cold ${what}`,
      unit: "ms",
      better: "lower",
      goals: [{ peer: "upstream", factor: 1, plus: 10 }],
      repetitions: REPETITIONS,
      contenders: [
        { peer: OURS, run: () => ask(ours.url, pathOf) },
        { peer: "upstream", run: () => ask(upstream.url, pathOf) },
        { peer: "distribution as a proxy", run: () => ask(distributionProxy.url, pathOf) },
      ],
    });
  return [
    await figure("manifest", (repository) => `${repository}/manifests/latest`),
    await figure("blob", (repository, image) => `${repository}/blobs/${image.blobs.at(-1)?.digest}`),
  ];
}
