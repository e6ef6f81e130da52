import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askHelper, createHelper, isHelperInstalled, isHelperName } from "./helper.ts";

let folder: string;
let env: NodeJS.ProcessEnv;

/** A helper as a shell script: what it does once `$server` holds what it was asked. */
async function addHelper(name: string, script: string): Promise<void> {
  const file = join(folder, `docker-credential-${name}`);
  await writeFile(file, `#!/bin/sh\nread -r server\n[ "$1" = get ] || exit 9\n${script}\n`);
  await chmod(file, 0o755);
}

const json = (username: string, secret: string) =>
  JSON.stringify({ ServerURL: "x", Username: username, Secret: secret });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "helper-"));
  env = { PATH: `${folder}:${process.env.PATH}`, CREG_AUTH: "our-own", AWS_PROFILE: "build" };
});
afterAll(() => rm(folder, { recursive: true }));

describe("a credential helper", () => {
  it("is asked for the server by its protocol, and gives a user or an identity token", async () => {
    await addHelper("echo", `echo "$server" > ${folder}/asked; echo '${json("robot", "pw")}'`);
    const server = "https://index.docker.io/v1/";
    expect(await askHelper({ name: "echo", server, env })).toEqual({
      kind: "basic",
      username: "robot",
      password: "pw",
    });
    expect((await readFile(join(folder, "asked"), "utf8")).trim()).toBe(server);
    await addHelper("token", `echo '${json("<token>", "refresh")}'`);
    expect(await askHelper({ name: "token", server, env })).toEqual({ kind: "identity-token", token: "refresh" });
  });

  it("may know nothing of a server", async () => {
    await addHelper("unknown", "echo 'credentials not found in native keychain'; exit 1");
    expect(await askHelper({ name: "unknown", server: "a.io", env })).toBeUndefined();
    await addHelper("empty", `echo '${json("", "")}'`);
    expect(await askHelper({ name: "empty", server: "a.io", env })).toBeUndefined();
  });

  it("sees the environment without our own configuration, and no shell sees the server", async () => {
    await addHelper("env", `echo "{\\"Username\\":\\"$AWS_PROFILE\\",\\"Secret\\":\\"[$CREG_AUTH]\\"}"`);
    expect(await askHelper({ name: "env", server: `$(touch ${folder}/owned)`, env })).toMatchObject({
      username: "build",
      password: "[]",
    });
    await expect(readFile(join(folder, "owned"))).rejects.toThrow("ENOENT");
  });

  it.each([
    ["fails", "echo hunter2; echo hunter2 >&2; exit 3", "failed (exit code 3)"],
    ["writes no JSON", "echo hunter2", "gave no credentials"],
    ["writes other JSON", `echo '{"Username":"hunter2"}'`, "gave no credentials"],
    ["writes without end", "while echo hunter2; do :; done", "wrote too much"],
    ["ends by a signal", "kill -9 $$", "failed (killed)"],
  ])("that %s is an error without its output", async (_what, script, message) => {
    await addHelper("bad", script);
    const error: unknown = await askHelper({ name: "bad", server: "a.io", env }).catch((thrown: unknown) => thrown);
    expect(String(error)).toContain(message);
    expect(JSON.stringify([String(error), error])).not.toContain("hunter2");
  });

  it("that hangs is killed with its children", async () => {
    await addHelper("hang", `sleep 600 & echo $! > ${folder}/child; wait`);
    await expect(askHelper({ name: "hang", server: "a.io", env, timeout: 500 })).rejects.toThrow("within 500 ms");
    const child = Number(await readFile(join(folder, "child"), "utf8"));
    const gone = () =>
      readFile(`/proc/${child}/stat`, "utf8").then(
        (stat) => / Z /.test(stat),
        () => true,
      );
    await expect.poll(gone, { timeout: 5_000 }).toBe(true);
  });

  it("that is not there is an error that names it", async () => {
    await expect(askHelper({ name: "missing", server: "a.io", env })).rejects.toThrow(
      "docker-credential-missing cannot be started (ENOENT)",
    );
  });

  it("is known to be there or not", async () => {
    await addHelper("there", "");
    await writeFile(join(folder, "docker-credential-text"), "no program");
    expect(["there", "text", "missing"].map((name) => isHelperInstalled(name, env))).toEqual([true, false, false]);
  });

  it("runs once for all who wait, and its answer is held", async () => {
    await addHelper("count", `echo run >> ${folder}/runs; echo '${json("robot", "pw")}'`);
    const helper = createHelper({ name: "count", server: "a.io", env });
    await Promise.all([helper.get(), helper.get(), helper.get()]);
    await helper.get();
    expect(await readFile(join(folder, "runs"), "utf8")).toBe("run\n");
  });
});

it.each(["", "../evil", "a/b", "-x", "a b", ".x", "a;b", "x".repeat(65)])("%j is no name of a helper", (name) => {
  expect(isHelperName(name)).toBe(false);
});
it.each(["ecr-login", "acr-env", "gcloud", "osxkeychain", "a.b_c"])("%j is a name of a helper", (name) => {
  expect(isHelperName(name)).toBe(true);
});
