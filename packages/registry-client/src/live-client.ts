import type { UpstreamClient } from "./client.ts";

/** A client whose configuration may change under it: what is under way ends with the one that it began with. */
export type LiveClient<Settings> = {
  readonly client: UpstreamClient;
  replace(settings: Settings): void;
};

type Generation = { readonly client: UpstreamClient; active: number; retired: boolean };

export function createLiveClient<Settings>(
  create: (settings: Settings) => UpstreamClient,
  settings: Settings,
): LiveClient<Settings> {
  const generations = new Set<Generation>();
  let current = begin(settings);

  function begin(from: Settings): Generation {
    const generation = { client: create(from), active: 0, retired: false };
    generations.add(generation);
    return generation;
  }

  function closeWhenUnused(generation: Generation): void {
    if (!generation.retired || generation.active > 0) return;
    generations.delete(generation);
    // Idle connections only; how their closing goes interests nobody.
    generation.client.close().catch(() => undefined);
  }

  /** The result says that the use is over. */
  function use(): { readonly client: UpstreamClient; end: () => void } {
    const generation = current;
    generation.active += 1;
    return {
      client: generation.client,
      end() {
        generation.active -= 1;
        closeWhenUnused(generation);
      },
    };
  }

  async function during<Value>(ask: (client: UpstreamClient) => Promise<Value>): Promise<Value> {
    const { client, end } = use();
    try {
      return await ask(client);
    } finally {
      end();
    }
  }

  return {
    client: {
      headManifest: (request) => during((client) => client.headManifest(request)),
      getManifest: (request) => during((client) => client.getManifest(request)),
      referrers: (request) => during((client) => client.referrers(request)),
      headBlob: (request) => during((client) => client.headBlob(request)),
      async getBlob(request) {
        const { client, end } = use();
        try {
          const blob = await client.getBlob(request);
          blob.stream.once("close", end);
          return blob;
        } catch (error) {
          end();
          throw error;
        }
      },
      async close() {
        await Promise.all([...generations].map(({ client }) => client.close()));
      },
    },
    replace(next) {
      const former = current;
      current = begin(next);
      former.retired = true;
      closeWhenUnused(former);
    },
  };
}
