import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { expectPullable } from "../support/pullable.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, runCommand, startRegistryProcess } from "../support/registry-process.ts";
import { startS3Server } from "../support/s3-server.ts";
import { type Image, makeImage } from "../support/test-content.ts";

/** Snapshots are taken when the process stops, and never otherwise. */
const snapshots = { schedule: "0 0 29 2 *", keep: 3 };
let registry: RegistryProcess;
let api: RegistryApi;

afterEach(() => registry?.dispose());

async function start(): Promise<void> {
  registry = await startRegistryProcess({ storage: { snapshots } });
  api = createRegistryApi(registry.url);
}

const pull = (repository: string, reference: string, image: Image) => expectPullable(api, repository, image, reference);

async function rebuild(...args: string[]): Promise<{ code: number | null; output: string }> {
  const file = join(registry.directory, "registry.yaml");
  const command = runCommand(["rebuild", "--config", file, ...args], { cwd: registry.directory });
  return { code: await command.exited, output: command.output() };
}

/** The files of SQLite that are there. */
const database = async (): Promise<string[]> =>
  (await readdir(registry.data)).filter((name) => /^metadata\.db(-wal|-shm)?$/.test(name));

async function loseDatabase(): Promise<void> {
  for (const name of await database()) await rm(join(registry.data, name));
}

it("comes back from the newest snapshot when the database is lost, and removes nothing that is newer", async () => {
  await start();
  const [before, after] = [makeImage([20_000]), makeImage([30_000])];
  await api.pushImage("team/app", "v1", before);
  expect(await registry.stop()).toBe(0);
  await registry.start();
  await api.pushImage("team/app", "v2", after);
  expect((await rebuild()).output).toContain("in use by another process");
  await registry.kill();
  await loseDatabase();

  await registry.start();
  await pull("team/app", "v1", before);
  expect((await api.request("GET", "team/app/manifests/v2")).status).toBe(404);
  const ready = await (await fetch(`${registry.management}/readyz?verbose`)).text();
  expect(ready).toContain("[!] metadata");
  const collected = await fetch(`${registry.management}/api/v1/gc`, { method: "POST" });
  expect(await collected.json()).toMatchObject({ removedOrphans: 0 });

  await registry.stop();
  const { code, output } = await rebuild();
  expect([code, output]).toEqual([0, expect.stringContaining(`recovered recovered@${after.manifest.digest}`)]);
  expect(output).toContain("is in good order");
  await registry.start();
  await pull("team/app", "v1", before);
  await pull("recovered", after.manifest.digest, after);
  expect(await (await fetch(`${registry.management}/readyz?verbose`)).text()).toContain("[+] metadata");
});

it("rebuild: the newest good snapshot takes the place of a damaged database; rows without bytes are named", async () => {
  await start();
  const [first, second] = [makeImage([20_000]), makeImage([30_000])];
  await api.pushImage("team/app", "v1", first);
  await registry.stop();
  await registry.start();
  await api.pushImage("team/app", "v2", second);
  await registry.stop();
  const folder = join(registry.data, "snapshots");
  const [newest = ""] = (await readdir(folder)).sort().reverse();
  const damaged = await readFile(join(folder, newest));
  damaged.fill(0, 100, 120);
  await writeFile(join(folder, newest), damaged);
  await writeFile(join(registry.data, "metadata.db"), "no database any more");
  const layer = first.blobs[1]?.digest ?? "";
  await rm(join(registry.data, "blobs", ...layer.split(":")));

  const { code, output } = await rebuild();
  expect(output).toContain(`snapshot ${newest} is not usable: it is damaged`);
  expect(output).toContain("restored from the snapshot");
  expect(output).toContain(`LOST ${layer}: its bytes are gone; push it again (team/app:v1)`);
  expect(code).toBe(4);
  expect((await readdir(registry.data)).filter((name) => name.endsWith(".old"))).toHaveLength(1);
  await registry.start();
  await pull("recovered", second.manifest.digest, second);
  await api.pushImage("team/app", "v1", first);
  await pull("team/app", "v1", first);
});

it("rebuild: without any snapshot the manifests are there by their digest, and it says what is lost", async () => {
  await start();
  const image = makeImage([20_000]);
  await api.pushImage("team/app", "v1", image);
  await registry.stop();
  await loseDatabase();
  await rm(join(registry.data, "snapshots"), { recursive: true });
  const { code, output } = await rebuild("--repository", "lost/found");
  expect([code, output]).toEqual([0, expect.stringContaining("tags, owners and pins cannot be had back")]);
  await registry.start();
  await pull("lost/found", image.manifest.digest, image);
  expect((await rebuild("--repository", "docker.io/x")).code).toBe(2);
  expect((await rebuild("--snapshot", "../x")).output).toContain("--snapshot: expected the name of a snapshot file");
});

it("rebuild: killed at any moment, it is simply run again", async () => {
  await start();
  const [first, second] = [makeImage([20_000]), makeImage([30_000])];
  await api.pushImage("team/app", "v1", first);
  await registry.stop();
  await registry.start();
  await api.pushImage("team/app", "v2", second);
  await registry.kill();
  const file = join(registry.directory, "registry.yaml");
  for (const after of [600, 700, 800, 900, 1_000]) {
    await writeFile(join(registry.data, "metadata.db"), "damaged");
    const command = runCommand(["rebuild", "--config", file], { cwd: registry.directory });
    await Promise.race([command.exited, new Promise((resolve) => setTimeout(resolve, after))]);
    command.child.kill("SIGKILL");
    await command.exited;
  }
  const { code, output } = await rebuild();
  expect(code, output).toBe(0);
  await registry.start();
  await pull("team/app", "v1", first);
  await pull("recovered", second.manifest.digest, second);
});

it("takes snapshots while it serves: after a kill and a lost database, what the last one knew is there", async () => {
  registry = await startRegistryProcess({ storage: { snapshots: { schedule: "* * * * * *", keep: 2 } } });
  api = createRegistryApi(registry.url);
  const folder = join(registry.data, "snapshots");
  const image = makeImage([10_000]);
  for (const tag of ["v1", "v2", "v3"]) {
    const before = await readdir(folder).catch((): string[] => []);
    await api.pushImage("team/app", tag, image);
    await eventually(async () => {
      const now = await readdir(folder);
      expect(now.filter((name) => name.endsWith(".gz") && !before.includes(name))).not.toEqual([]);
      expect(now.length).toBeLessThanOrEqual(2);
    }, 30_000);
  }
  await registry.kill();
  await loseDatabase();
  await registry.start();
  await pull("team/app", "v2", image);
});

it("SQLite beside an object store survives a lost volume", async () => {
  const s3 = await startS3Server();
  try {
    registry = await startRegistryProcess({ storage: { snapshots, ...s3.storage("snapshots-test") } });
    api = createRegistryApi(registry.url);
    const image = makeImage([40_000]);
    await api.pushImage("team/app", "v1", image);
    await registry.stop();
    await s3.stop();
    await rm(registry.data, { recursive: true, force: true });
    await expect(registry.start()).rejects.toThrow("nobody can say now whether there is a snapshot");
    await s3.start();
    await registry.start();
    await pull("team/app", "v1", image);
  } finally {
    await s3.dispose();
  }
});
