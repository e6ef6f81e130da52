/* The commands around containerd's hosts.toml, and the proxy that looks after it, as processes. */

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { stringify } from "yaml";
import { freePort } from "../../hack/cluster/free-port.ts";
import { eventually } from "../support/eventually.ts";
import { type RunningCommand, runCommand, whenReady } from "../support/registry-process.ts";

const USERS = 'server = "https://registry-1.docker.io"\n\n[host."https://mirror.corp"]\n';

let directory: string;
let certs: string;
let port: number;
let management: string;
const started: RunningCommand[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "creg-hosts-toml-"));
  certs = join(directory, "certs.d");
  await mkdir(join(certs, "docker.io"), { recursive: true });
  await writeFile(join(certs, "docker.io", "hosts.toml"), USERS);
  port = await freePort();
  const managementPort = await freePort();
  management = `http://127.0.0.1:${managementPort}`;
  const configuration = {
    listen: { hosts: ["127.0.0.1"], port },
    management: { port: managementPort },
    registry: { url: "http://127.0.0.1:1" },
    hostsToml: { enabled: true, directory: certs, registries: ["docker.io", "_default"] },
  };
  await writeFile(join(directory, "proxy.yaml"), stringify(configuration));
});
afterEach(async () => {
  for (const { child } of started.splice(0)) child.kill("SIGKILL");
  await rm(directory, { recursive: true, force: true });
});

function run(option?: string, env: Record<string, string> = {}): RunningCommand {
  const args = ["proxy", "--config", join(directory, "proxy.yaml"), ...(option === undefined ? [] : [option])];
  const command = runCommand(args, { cwd: directory, env });
  started.push(command);
  return command;
}

const textOf = (registry: string) => readFile(join(certs, registry, "hosts.toml"), "utf8");

it("writes and removes by command, also by a configuration that no longer wants the files", async () => {
  const changed = join(certs, "_default", "hosts.toml");
  expect(await run("--write-hosts-toml").exited).toBe(0);
  expect(await textOf("docker.io")).toContain(`[host."http://127.0.0.1:${port}"]`);
  // An upstream's credentials may be missing where only the files matter.
  const upstreams = "[{registry: a.io, credentials: {username: u, passwordFile: /nowhere}}]";
  expect(await run("--write-hosts-toml", { CREG_HOSTSTOML__ENABLED: "false", CREG_UPSTREAMS: upstreams }).exited).toBe(
    0,
  );
  expect(await readdir(certs)).toEqual(["docker.io"]);
  expect(await textOf("docker.io")).toBe(USERS);

  await run("--write-hosts-toml").exited;
  await writeFile(changed, "# mine\n", { flag: "a" });
  const removal = run("--remove-hosts-toml");
  expect(await removal.exited).toBe(3);
  expect(removal.output()).toContain("its hosts.toml was changed by somebody else");
  expect(await textOf("docker.io")).toBe(USERS);
  expect(await textOf("_default")).toContain("# mine");
  await rm(changed);
  expect(await run("--remove-hosts-toml").exited).toBe(0);
});

it("the proxy writes at its start, says how the files stand, and undoes nothing at its end", async () => {
  const proxy = run();
  await whenReady(proxy, management);
  const written = await textOf("docker.io");
  expect(written).toContain(USERS.split("\n").at(2));
  const said = async () => {
    const [readyz, metrics] = await Promise.all(
      ["readyz?verbose", "metrics"].map((path) => fetch(`${management}/${path}`)),
    );
    return `${await readyz?.text()}${await metrics?.text()}`;
  };
  const before = await said();
  expect(before).toContain("[+] hosts.toml: ok");
  expect(before).toContain(
    `[!] containerd: no pull has come from containerd yet; it does when its config_path is ${certs}`,
  );
  expect(before).toContain('cache_registry_proxy_hosts_toml{registry="_default",state="ours"} 1');
  expect(before).toContain("cache_registry_proxy_hosts_toml_verified 0");
  await fetch(`http://127.0.0.1:${port}/v2/app/manifests/1?ns=registry.invalid`);
  await writeFile(join(certs, "docker.io", "hosts.toml"), "# mine\n");
  await eventually(async () => {
    const after = await said();
    expect(after).toContain("[!] hosts.toml: docker.io: its hosts.toml was changed by somebody else");
    expect(after).toContain("[+] containerd: ok");
    expect(after).toContain('cache_registry_proxy_hosts_toml{registry="docker.io",state="left-alone"} 1');
    expect(after).toContain("cache_registry_proxy_hosts_toml_verified 1");
    expect(after).toContain("cache_registry_proxy_mirror_requests_total 1");
  });
  expect((await fetch(`${management}/readyz`)).status).toBe(200);
  await writeFile(join(certs, "docker.io", "hosts.toml"), written);
  proxy.child.kill("SIGTERM");
  expect(await proxy.exited).toBe(0);
  expect(await textOf("docker.io")).toBe(written);
});

it("does not start with a registry that is none", async () => {
  const bad = run(undefined, { CREG_HOSTSTOML__REGISTRIES: '["not a registry"]' });
  expect(await bad.exited).toBe(2);
  expect(bad.output()).toContain("hostsToml.registries");
});
