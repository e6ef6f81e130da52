import { type Connection, openConnection, type Received } from "./connection.ts";

function expectOk({ status }: Received, url: string): void {
  if (status !== 200) throw new Error(`${url} answered ${status}`);
}

async function connections(url: URL, count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => openConnection(url)));
}

type Download = { readonly url: string; readonly connections: number; readonly each: number };

export async function download({ url, connections: count, each }: Download): Promise<number[]> {
  const target = new URL(url);
  const open = await connections(target, count);
  let bytes = 0;
  const start = performance.now();
  await Promise.all(
    open.map(async (connection) => {
      for (let turn = 0; turn < each; turn += 1) {
        const received = await connection.get(target.pathname);
        expectOk(received, url);
        bytes += received.size;
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const connection of open) connection.close();
  return [seconds, bytes];
}

type Requests = { readonly url: string; readonly connections: number; readonly seconds: number };

export async function requests({ url, connections: count, seconds }: Requests): Promise<number[]> {
  const target = new URL(url);
  const open = await connections(target, count);
  let answered = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    open.map(async (connection) => {
      while (performance.now() < end) {
        expectOk(await connection.get(target.pathname), url);
        answered += 1;
      }
    }),
  );
  const perSecond = (answered * 1000) / (performance.now() - start);
  for (const connection of open) connection.close();
  return [perSecond];
}

export async function firstByte({ url }: { readonly url: string }): Promise<number[]> {
  const target = new URL(url);
  const start = performance.now();
  const connection = await openConnection(target);
  const received = await connection.get(target.pathname);
  connection.close();
  expectOk(received, url);
  return [received.firstByteAt - start];
}

type Pull = {
  readonly base: string;
  readonly repository: string;
  readonly reference: string;
  readonly clients: number;
};
type Manifest = {
  readonly config: { digest: string; size: number };
  readonly layers: { digest: string; size: number }[];
};

/** As a container runtime does: the manifest, then its blobs in parallel. Sizes are checked; the registry checks digests. */
export async function pull({ base, repository, reference, clients }: Pull): Promise<number[]> {
  const getOnce = async (path: string, keep: boolean) => {
    const connection = await openConnection(new URL(base));
    const received = await connection.get(`/v2/${repository}/${path}`, { keep });
    connection.close();
    expectOk(received, path);
    return received;
  };
  const one = async () => {
    const { body } = await getOnce(`manifests/${reference}`, true);
    const { config, layers } = JSON.parse(body.toString()) as Manifest;
    await Promise.all(
      [config, ...layers].map(async ({ digest, size }) => {
        const received = await getOnce(`blobs/${digest}`, false);
        if (received.size !== size) throw new Error(`${digest}: ${received.size} of ${size} bytes`);
      }),
    );
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: clients }, one));
  return [(performance.now() - start) / 1000];
}
