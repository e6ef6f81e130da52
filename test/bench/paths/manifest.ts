import { createRegistryApi } from "../../support/registry-api.ts";
import { makeImage } from "../../support/test-content.ts";
import { haveWrk, wrk } from "../client/wrk.ts";
import { type Figure, measure } from "../measure.ts";
import { holders, type Scene } from "../scene.ts";

const CONNECTIONS = 32;
const SECONDS = 2;

/** A manifest that is held, by tag and by digest, with the logging that each has by default. */
export async function manifest(scene: Scene): Promise<Figure[]> {
  const image = makeImage([1_000, 2_000, 3_000]);
  for (const { url } of [scene.ours, scene.distribution]) {
    await createRegistryApi(url).pushImage("bench/manifest", "latest", image);
  }
  await scene.publish("manifest.json", image.manifest.bytes);
  const ask = haveWrk
    ? (url: string) => wrk({ url, connections: CONNECTIONS, seconds: SECONDS })
    : async (url: string) => {
        const job = { kind: "requests", url, connections: CONNECTIONS, seconds: SECONDS } as const;
        const [perSecond = Number.NaN] = await scene.client.run(job);
        return perSecond;
      };
  const note = haveWrk ? "load by wrk" : "load by a Node.js client, which may be the limit: wrk is not installed";
  const figure = (by: string, reference: string) =>
    measure({
      name: `manifest by ${by}, ${CONNECTIONS} connections`,
      unit: "requests/s",
      better: "higher",
      goals: [{ peer: "distribution", factor: 3 }],
      note,
      repetitions: 5,
      contenders: holders(scene, { path: `/v2/bench/manifest/manifests/${reference}`, file: "manifest.json", ask }),
    });
  return [await figure("tag", "latest"), await figure("digest", image.manifest.digest)];
}
