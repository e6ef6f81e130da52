import { createRegistryApi } from "../../support/registry-api.ts";
import { randomBlob } from "../../support/test-content.ts";
import { type Figure, measure } from "../measure.ts";
import { holders, type Scene } from "../scene.ts";

const SIZE = 64 * 1024 * 1024;

/** A blob that is held, over and over: from the page cache to the socket. */
export async function warmBlob(scene: Scene): Promise<Figure[]> {
  const blob = randomBlob(SIZE);
  for (const { url } of [scene.ours, scene.distribution]) await createRegistryApi(url).pushBlob("bench/warm", blob);
  await scene.publish("blob", blob.bytes);
  const path = `/v2/bench/warm/blobs/${blob.digest}`;

  const figure = (connections: number, each: number, factors: readonly [distribution: number, nginx: number]) =>
    measure({
      name: `warm 64 MiB blob, ${connections} ${connections === 1 ? "connection" : "connections"}`,
      unit: "GB/s",
      better: "higher",
      goals: [
        { peer: "distribution", factor: factors[0] },
        { peer: "nginx", factor: factors[1] },
      ],
      repetitions: 7,
      contenders: holders(scene, {
        path,
        file: "blob",
        async ask(url) {
          const [seconds = 0, bytes = 0] = await scene.client.run({ kind: "download", url, connections, each });
          return bytes / seconds / 1e9;
        },
      }),
    });
  return [await figure(1, 16, [1.3, 0.75]), await figure(8, 3, [1.15, 0.85])];
}
