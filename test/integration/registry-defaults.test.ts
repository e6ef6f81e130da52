import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi } from "../support/registry-api.ts";
import { runCommand, whenReady } from "../support/registry-process.ts";
import { makeImage } from "../support/test-content.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-defaults-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

it("serves on 127.0.0.1:5000 from ./data with no configuration at all, also after a restart", async () => {
  const cwd = join(directory, "nothing");
  await mkdir(cwd);
  // Another suite may be ending a registry on these very ports.
  await eventually(async () => expect([await isOpen(5000), await isOpen(8081)]).toEqual([false, false]), 60_000);
  const image = makeImage([100_000]);
  const api = createRegistryApi("http://127.0.0.1:5000");
  for (const round of [1, 2]) {
    const registry = runCommand(["registry"], { cwd });
    try {
      await whenReady(registry, "http://127.0.0.1:8081");
      if (round === 1) await api.pushImage("my/app", "v1", image);
      expect(await api.get("my/app/manifests/v1")).toEqual(image.manifest.bytes);
      for (const { digest, bytes } of image.blobs) expect(await api.get(`my/app/blobs/${digest}`)).toEqual(bytes);
    } finally {
      registry.child.kill("SIGTERM");
    }
    expect(await registry.exited).toBe(0);
  }
  expect(await readdir(cwd)).toEqual(["data"]);
  expect(await readdir(join(cwd, "data"))).toEqual(expect.arrayContaining(["blobs", "metadata.db", "oci-layout"]));
});

describe("a configuration that is wrong", () => {
  const cases: [what: string, yaml: string, env: Record<string, string>, said: string[]][] = [
    ["an unknown key", "listen: { prot: 5000 }", {}, ["listen.prot", "port"]],
    ["a wrong type", "listen: { port: high }", {}, ["listen.port", "0 to 65535"]],
    ["a value that is not allowed", "upstreamPolicy: some", {}, ["upstreamPolicy", "listed", "public", "any"]],
    ["a bad duration", "gc: { grace: 10 }", {}, ["gc.grace"]],
    ["a bad schedule", 'gc: { schedule: "never" }', {}, ["gc.schedule"]],
    [
      "a file that is not there",
      "auth: { htpasswdFile: /nowhere/htpasswd }",
      {},
      ["auth.htpasswdFile", "/nowhere/htpasswd"],
    ],
    ["no token off loopback", "management: { host: 0.0.0.0 }", {}, ["management.tokenFile"]],
    ["half a pair", "auth: { usernameFile: /etc/hostname }", {}, ["auth.passwordFile"]],
    ["an unknown variable", "{}", { CREG_LISTEN__PROT: "1" }, ["CREG_LISTEN__PROT"]],
    ["a bad variable", "{}", { CREG_LISTEN__PORT: "x" }, ["listen.port", "CREG_LISTEN__PORT"]],
    ["broken YAML", "listen: {", {}, ["registry.yaml"]],
    [
      "upstream credentials that cannot be read",
      "upstreams: [{ registry: quay.io, credentials: { username: a, passwordFile: /nowhere/p } }]",
      {},
      ["upstreams.0.credentials.passwordFile"],
    ],
  ];
  it.each(cases)("with %s ends with 2 before anything is opened, naming it", async (_what, yaml, env, said) => {
    const cwd = await mkdtemp(join(directory, "bad-"));
    await writeFile(join(cwd, "registry.yaml"), yaml);
    const command = runCommand(["registry", "--config", "registry.yaml"], { cwd, env });
    expect(await command.exited).toBe(2);
    for (const text of said) expect(command.output()).toContain(text);
    expect(command.output()).not.toContain("listening");
    expect(await readdir(cwd)).toEqual(["registry.yaml"]);
  });

  it("or missing ends with 2", async () => {
    const command = runCommand(["registry", "--config", "missing.yaml"], { cwd: directory });
    expect(await command.exited).toBe(2);
    expect(command.output()).toContain("missing.yaml");
  });
});
