import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startClient } from "../client/client.ts";
import { fillDistribution } from "../data/distribution-tree.ts";
import { fillWithManifests, repositoryName } from "../data/filled-store.ts";
import { type Figure, measure, median, OURS } from "../measure.ts";
import { distributionContent, ourData, type Peer, startDistribution, startOurs } from "../peers.ts";

const REPOSITORIES = 100_000;
const TAGS = 100_000;
const PAGE = 100;

/** The first page of the lists when there is very much to list. */
export async function listing(): Promise<Figure[]> {
  const dir = await mkdtemp(join(tmpdir(), "creg-bench-lists-"));
  const places = { ours: join(dir, "ours"), distribution: join(dir, "distribution") };
  const peers: Peer[] = [];
  const client = startClient();
  try {
    await fillWithManifests(ourData(places.ours), { repositories: REPOSITORIES, manifestsEach: 1, tags: TAGS });
    fillDistribution(distributionContent(places.distribution), { repositories: REPOSITORIES, tags: TAGS });
    const ours = await startOurs({ dir: places.ours });
    peers.push(ours);
    const distribution = await startDistribution({ dir: places.distribution });
    peers.push(distribution);
    const figure = (what: string, path: string) => {
      const ask = async (base: string) => {
        const job = { kind: "latencies", urls: [`${base}${path}?n=${PAGE}`], seconds: 0.5, pause: 0 } as const;
        return 1_000 / median(await client.run(job));
      };
      return measure({
        name: `first page of ${what}`,
        unit: "pages/s",
        better: "higher",
        goals: [{ peer: "distribution", factor: 20 }],
        note: `one connection, ${PAGE} names a page`,
        repetitions: 5,
        contenders: [
          { peer: OURS, run: () => ask(ours.url) },
          { peer: "distribution", run: () => ask(distribution.url) },
        ],
      });
    };
    const many = (count: number) => count.toLocaleString("en-US");
    return [
      await figure(`_catalog, ${many(REPOSITORIES)} repositories`, "/v2/_catalog"),
      await figure(`tags/list, ${many(TAGS)} tags`, `/v2/${repositoryName(0)}/tags/list`),
    ];
  } finally {
    client.close();
    for (const peer of peers) await peer.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
