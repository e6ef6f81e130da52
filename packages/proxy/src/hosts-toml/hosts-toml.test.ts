import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHostsToml, type HostsToml, troubleOf } from "./hosts-toml.ts";
import { outlineOf } from "./toml-outline.ts";

const URL = "http://127.0.0.1:7439";
const OUR_TABLE = `[host."${URL}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "200ms"\n`;

let directory: string;
let outside: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-certs-"));
  outside = await mkdtemp(join(tmpdir(), "creg-elsewhere-"));
});
afterEach(() => Promise.all([directory, outside].map((path) => rm(path, { recursive: true, force: true }))));

const managed = (...registries: string[]): HostsToml => createHostsToml({ directory, registries, url: URL });
const fileOf = (folder: string, name = "hosts.toml") => join(directory, folder, name);
const textOf = (folder: string) => readFile(fileOf(folder), "latin1");

const withoutMark = (text: string) => text.slice(text.indexOf("\n") + 1);

async function given(folder: string, text: string, name = "hosts.toml"): Promise<void> {
  await mkdir(join(directory, folder), { recursive: true });
  await writeFile(fileOf(folder, name), text, "latin1");
}

/** Every path with its bytes. */
async function snapshot(): Promise<Record<string, string>> {
  const paths = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = await Promise.all(
    paths.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, entry.isFile() ? await readFile(path, "latin1") : "(folder)"] as const;
    }),
  );
  return Object.fromEntries(files);
}

describe("on a node without such files", () => {
  it("writes one, changes nothing the second time, and leaves nothing behind", async () => {
    const hosts = managed("_default");
    expect(troubleOf(await hosts.inspect())).toBe("_default: not led to the proxy");
    expect(troubleOf(await hosts.apply())).toBeUndefined();
    expect(await textOf("_default")).toContain(OUR_TABLE);
    expect((await stat(fileOf("_default"))).mode & 0o777).toBe(0o644);
    const before = await stat(fileOf("_default"));
    expect(troubleOf(await hosts.apply())).toBeUndefined();
    expect((await stat(fileOf("_default"))).ino).toBe(before.ino);
    expect(troubleOf(await hosts.inspect())).toBeUndefined();
    expect((await hosts.remove()).size).toBe(0);
    expect(await snapshot()).toEqual({});
  });

  it("makes the directory itself", async () => {
    await rm(directory, { recursive: true });
    expect(troubleOf(await managed("_default").apply())).toBeUndefined();
  });

  it("leads those no more that are not listed any longer", async () => {
    await managed("docker.io", "harbor.local:5000").apply();
    expect((await readdir(directory)).sort()).toEqual(["docker.io", "harbor.local:5000"]);
    await managed("_default").apply();
    expect(await readdir(directory)).toEqual(["_default"]);
  });

  it("uses the folder that containerd reads first for a registry with a port", async () => {
    await mkdir(join(directory, "harbor.local_5000_"));
    await mkdir(join(directory, "harbor.local:5000"));
    await managed("harbor.local:5000").apply();
    expect(await textOf("harbor.local_5000_")).toContain(OUR_TABLE);
    await managed("harbor.local:5000").remove();
    expect((await readdir(directory)).sort()).toEqual(["harbor.local:5000", "harbor.local_5000_"]);
  });
});

const USERS_FILES = [
  'server = "https://registry-1.docker.io"\n\n[host."https://mirror.corp"]\n  capabilities = ["pull"]\n  ca = "m.crt"\n',
  '# mine\n[host."https://a.io"]\n  skip_verify = true',
  'server = "https://b.io"\r\nca = ["x"]\r\n\r\n# z\xe4\xff\r\n[host."https://a.io"]\r\n',
  'ca = "own.crt"',
  "# nothing but words\n",
  "",
];

describe("a file that a user wrote", () => {
  it.each(USERS_FILES)("comes after our host, and back byte by byte: %j", async (text) => {
    await given("docker.io", text);
    await given("docker.io", "-----BEGIN", "m.crt");
    await chmod(fileOf("docker.io"), 0o640);
    const before = { files: await snapshot(), stat: await lstat(fileOf("docker.io")) };
    expect(troubleOf(await managed("docker.io").apply())).toBeUndefined();
    const merged = await textOf("docker.io");
    const hosts = (outlineOf(merged)?.tables ?? []).map(([, host]) => host);
    expect(hosts).toEqual([URL, ...(outlineOf(text)?.tables ?? []).map(([, host]) => host)]);
    expect((await stat(fileOf("docker.io"))).mode & 0o777).toBe(0o640);
    expect(troubleOf(await managed("docker.io").apply())).toBeUndefined();
    expect(await textOf("docker.io")).toBe(merged);

    expect((await managed("docker.io").remove()).size).toBe(0);
    expect(await snapshot()).toEqual(before.files);
    const { ino, mtimeMs, uid, mode } = before.stat;
    expect(await lstat(fileOf("docker.io"))).toMatchObject({ ino, mtimeMs, uid, mode });
  });

  it("keeps the certificates that containerd took from the folder while it had no hosts.toml", async () => {
    for (const name of ["b.crt", "a.crt", "c.cert", "c.key", "d.cert"]) await given("docker.io", "x", name);
    await managed("docker.io").apply();
    const text = await textOf("docker.io");
    expect(text).toContain('ca = ["a.crt","b.crt"]\nclient = [["c.cert","c.key"],["d.cert",""]]\n');
    expect(text.indexOf("ca =")).toBeLessThan(text.indexOf("[host"));
    await managed("docker.io").remove();
    expect((await readdir(join(directory, "docker.io"))).sort()).toEqual([
      "a.crt",
      "b.crt",
      "c.cert",
      "c.key",
      "d.cert",
    ]);
  });

  it("is not touched in other folders", async () => {
    await given("quay.io", USERS_FILES[0] ?? "");
    await given("ghcr.io", "x", "ca.crt");
    const before = await snapshot();
    await managed("_default").apply();
    await managed("_default").remove();
    expect(await snapshot()).toEqual(before);
  });

  it.each([
    ['[host."http://localhost:7439"]\n', "nothing"],
    ['host = { "https://a.io" = {} }\n', "another form"],
    ['[host."https://a.io\n', "not valid TOML"],
    ['\xef\xbb\xbfserver = "https://a.io"\n', "not valid TOML"],
  ])("stays as it is where it cannot or need not be added to: %j", async (text, why) => {
    await given("docker.io", text);
    expect(troubleOf(await managed("docker.io").apply()) ?? "nothing").toContain(why);
    expect(await snapshot()).toMatchObject({ [fileOf("docker.io")]: text });
    expect((await managed("docker.io").remove()).size).toBe(0);
    expect(await textOf("docker.io")).toBe(text);
  });

  it("is left alone when it is a link: something else looks after it", async () => {
    await given("elsewhere", "", "target.toml");
    await mkdir(join(directory, "docker.io"));
    await symlink(fileOf("elsewhere", "target.toml"), fileOf("docker.io"));
    expect(troubleOf(await managed("docker.io").apply())).toContain("not a plain file");
    expect((await managed("docker.io").remove()).size).toBe(0);
    expect((await lstat(fileOf("docker.io"))).isSymbolicLink()).toBe(true);
  });
});

describe("a folder that is a link", () => {
  it.each([
    ["to another registry's", () => join(directory, "hub")],
    ["to somewhere else", () => join(outside, "hub")],
  ])("%s is led to the proxy, and back", async (_, target) => {
    await mkdir(target());
    await writeFile(join(target(), "hosts.toml"), USERS_FILES[0] ?? "");
    await symlink(target(), join(directory, "docker.io"));
    for (let round = 0; round < 2; round += 1) {
      expect(troubleOf(await managed("docker.io").apply())).toBeUndefined();
      expect(await textOf("docker.io")).toContain(OUR_TABLE);
    }
    expect((await managed("docker.io").remove()).size).toBe(0);
    expect(await readdir(target())).toEqual(["hosts.toml"]);
    expect(await textOf("docker.io")).toBe(USERS_FILES[0]);
    expect((await lstat(join(directory, "docker.io"))).isSymbolicLink()).toBe(true);
  });

  it("to nowhere is named, and no matter for the others", async () => {
    await symlink(join(outside, "nothing"), join(directory, "docker.io"));
    const report = await managed("docker.io", "quay.io").apply();
    expect(troubleOf(report)).toMatch(/^docker\.io: it cannot be written/);
    expect(report.get("quay.io")).toEqual({ state: "ours" });
    expect((await managed("docker.io").remove()).size).toBe(0);
  });
});

it("a directory that cannot be looked into is named: files of ours may be in it", async () => {
  await rm(directory, { recursive: true });
  expect((await managed("_default").remove()).size).toBe(0);
  await writeFile(directory, "");
  expect(troubleOf(await managed("_default").remove())).toContain("ENOTDIR");
  expect(troubleOf(await managed("_default").apply())).toContain("_default: it cannot be written");
});

describe("a file of ours whose backup is gone", () => {
  it.each(USERS_FILES)("still leads to the proxy, and gives the user's settings back: %j", async (text) => {
    await given("docker.io", text);
    await managed("docker.io").apply();
    const merged = await textOf("docker.io");
    await rm(fileOf("docker.io", "hosts.toml.before-cache-registry"));
    expect(troubleOf(await managed("docker.io").apply())).toBeUndefined();
    expect(await textOf("docker.io")).toBe(merged);
    const elsewhere = createHostsToml({ directory, registries: ["docker.io"], url: "http://127.0.0.1:7500" });
    expect(troubleOf(await elsewhere.apply())).toBeUndefined();
    expect(withoutMark(await textOf("docker.io"))).toBe(withoutMark(merged).replace(URL, "http://127.0.0.1:7500"));
    expect((await managed("docker.io").remove()).size).toBe(0);
    // All but blank lines and the end of the last line.
    const lines = (file: string) => file.split("\n").filter((line) => line !== "");
    expect(lines(await textOf("docker.io"))).toEqual(lines(text));
    expect(await readdir(join(directory, "docker.io"))).toEqual(["hosts.toml"]);
  });
});

describe("a file of ours that somebody else changed", () => {
  it.each([
    "",
    USERS_FILES[0] ?? "",
  ])("is left alone and named, before and at removal (before us: %j)", async (text) => {
    if (text !== "") await given("docker.io", text);
    await managed("docker.io").apply();
    const changed = `${await textOf("docker.io")}# mine now\n`;
    await writeFile(fileOf("docker.io"), changed, "latin1");
    for (const step of ["apply", "inspect", "remove"] as const) {
      expect(troubleOf(await managed("docker.io")[step]())).toContain("docker.io: its hosts.toml was changed");
    }
    expect(await textOf("docker.io")).toBe(changed);
  });

  it("is left alone when it was replaced or removed", async () => {
    await given("docker.io", USERS_FILES[0] ?? "");
    await managed("docker.io").apply();
    await given("docker.io", "# another\n");
    expect(troubleOf(await managed("docker.io").apply())).toContain("was changed");
    await rm(fileOf("docker.io"));
    expect(troubleOf(await managed("docker.io").apply())).toContain("was changed");
    expect(troubleOf(await managed("docker.io").remove())).toContain("was changed");
    expect(await readFile(fileOf("docker.io", "hosts.toml.before-cache-registry"), "latin1")).toBe(USERS_FILES[0]);
  });
});

describe("an end in the middle", () => {
  it.each(["apply", "remove"] as const)("between the backup and the writing is no matter for %s", async (step) => {
    const text = USERS_FILES[0] ?? "";
    await given("docker.io", text);
    await given("docker.io", text, "hosts.toml.before-cache-registry");
    await given("docker.io", "half", "hosts.toml.cache-registry-new");
    expect(troubleOf(await managed("docker.io")[step]())).toBeUndefined();
    await managed("docker.io").remove();
    expect(await readdir(join(directory, "docker.io"))).toEqual(["hosts.toml"]);
    expect(await textOf("docker.io")).toBe(text);
  });

  it("never shows a reader half a file", async () => {
    const text = `${USERS_FILES[0]}${"# padding\n".repeat(2000)}`;
    await given("docker.io", text);
    const seen = new Set<string>();
    let over = false;
    const reader = (async () => {
      while (!over) seen.add(await textOf("docker.io"));
    })();
    for (let round = 0; round < 20; round += 1) {
      await managed("docker.io").apply();
      await managed("docker.io").remove();
    }
    over = true;
    await reader;
    expect(seen.size).toBeLessThanOrEqual(2);
  });
});

it("a folder that cannot be written is named, and nothing else suffers", async () => {
  // root may write anywhere, but not below a file
  await writeFile(join(directory, "quay.io"), "");
  const report = await managed("quay.io", "docker.io").apply();
  expect(troubleOf(report)).toMatch(/^quay\.io: it cannot be written/);
  expect(report.get("docker.io")).toEqual({ state: "ours" });
  await rename(join(directory, "quay.io"), join(directory, "was-a-file"));
});
