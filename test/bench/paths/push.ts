import { type Figure, measure } from "../measure.ts";
import { holders, type Scene } from "../scene.ts";

const MIB = 1024 * 1024;

/** New blobs, eight at once, acknowledged when they are on disk. Each repetition pushes other bytes. */
export async function push(scene: Scene): Promise<Figure[]> {
  const ask = (blobs: number, size: number) => async (base: string) => {
    const job = { kind: "push", base, repository: "bench/push", blobs, size, atOnce: 8 } as const;
    const [seconds = Number.NaN] = await scene.client.run(job);
    return seconds;
  };
  const large = await measure({
    name: "push of 8 × 64 MiB, 8 at once",
    unit: "MB/s",
    better: "higher",
    goals: [{ peer: "distribution", factor: 1 }],
    repetitions: 5,
    contenders: holders(scene, {
      path: "",
      ask: async (url) => (8 * 64 * MIB) / (await ask(8, 64 * MIB)(url)) / 1e6,
    }),
  });
  const small = await measure({
    name: "push of 100 × 100 KiB, 8 at once",
    unit: "blobs/s",
    better: "higher",
    goals: [{ peer: "distribution", factor: 5 }],
    repetitions: 9,
    contenders: holders(scene, { path: "", ask: async (url) => 100 / (await ask(100, 100 * 1024)(url)) }),
  });
  return [large, small];
}
