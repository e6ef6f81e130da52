import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createLogger, type Logger } from "@cache-registry/runtime/logger";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useClients } from "./testing/clients.ts";
import {
  answerJson,
  createScriptedRegistry,
  manifestBytes,
  type ScriptedRegistry,
} from "./testing/scripted-registry.ts";

/* Which identity goes to whom, seen from the registry and from its token service. */

const REPOSITORY = "team/app";
const at = { registry: "harbor.local", repository: REPOSITORY, reference: "1" };
const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;

let folder: string;
let registry: ScriptedRegistry;
let tokenServer: ScriptedRegistry;
/** Forms that the token service was sent. */
let forms: URLSearchParams[];
const clientOf = useClients(() => ({ registry: "harbor.local", endpoints: [registry.url] }));
const createClient = (credentials: unknown, logger?: Logger) => clientOf({ upstream: { credentials }, logger });

async function dockerConfig(config: object): Promise<{ dockerConfigFile: string }> {
  const dockerConfigFile = join(folder, "config.json");
  await writeFile(dockerConfigFile, JSON.stringify(config));
  return { dockerConfigFile };
}

/** Lets in whoever shows the header; others are challenged. */
function requireHeader(authorization: () => string, challenge = 'Basic realm="harbor"'): void {
  registry.intercept = (request, response) =>
    request.headers.authorization === authorization()
      ? false
      : answerJson(response, 401, {}, { "www-authenticate": challenge });
}

const bearer = () => `Bearer realm="${tokenServer.url}/token",service="harbor",scope="repository:${REPOSITORY}:pull"`;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "identity-"));
  registry = await createScriptedRegistry();
  tokenServer = await createScriptedRegistry();
  forms = [];
  registry.addManifest(REPOSITORY, manifestBytes("a"), "1");
  registry.addManifest("teamwork/app", manifestBytes("b"), "1");
});
afterEach(async () => {
  await Promise.all([registry.stop(), tokenServer.stop()]);
  await rm(folder, { recursive: true });
});

describe("an identity token", () => {
  /** Gives the token for the refresh token, and remembers the forms. */
  function exchange(refreshToken: string, token: string): void {
    tokenServer.intercept = (request, response) => {
      void text(request).then((body) => {
        const form = new URLSearchParams(body);
        forms.push(form);
        const known = request.method === "POST" && form.get("refresh_token") === refreshToken;
        return known
          ? answerJson(response, 200, { access_token: token, expires_in: 300 })
          : answerJson(response, 400, { error: "invalid_grant" });
      });
      return true;
    };
  }

  it("is exchanged at the token service by POST, and shown to nobody else", async () => {
    requireHeader(() => "Bearer t1", bearer());
    exchange("refresh", "t1");
    const client = createClient(await dockerConfig({ auths: { "harbor.local": { identitytoken: "refresh" } } }));
    await client.getManifest(at);
    await client.getManifest(at);
    expect(forms.map((form) => Object.fromEntries(form))).toEqual([
      {
        grant_type: "refresh_token",
        refresh_token: "refresh",
        client_id: "cache-registry",
        service: "harbor",
        scope: `repository:${REPOSITORY}:pull`,
      },
    ]);
    expect(tokenServer.requests[0]).toMatchObject({ method: "POST", url: "/token" });
    expect(tokenServer.requests[0]?.headers.authorization).toBeUndefined();
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      "Bearer t1",
      "Bearer t1",
    ]);
  });

  it("that is refused counts as refused credentials", async () => {
    requireHeader(() => "Bearer t1", bearer());
    exchange("another", "t1");
    const client = createClient(await dockerConfig({ auths: { "harbor.local": { identitytoken: "refresh" } } }));
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    expect(forms).toHaveLength(1);
  });

  it("is not shown to a realm outside the registry's domain, nor to a registry that wants a password", async () => {
    const elsewhere = bearer().replace("127.0.0.1", "localhost");
    requireHeader(() => "Bearer t1", elsewhere);
    const credentials = await dockerConfig({ auths: { "harbor.local": { identitytoken: "refresh" } } });
    const client = clientOf({ upstream: { credentials }, policy: "any" });
    tokenServer.intercept = (_request, response) => answerJson(response, 200, { token: "t1" });
    await client.getManifest(at);
    expect(tokenServer.requests).toMatchObject([{ method: "GET" }]);
    expect(JSON.stringify(tokenServer.requests)).not.toContain("refresh");

    requireHeader(() => "Bearer refresh");
    await expect(createClient(credentials).getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
  });
});

describe("a docker configuration", () => {
  it("is read again when it changes", async () => {
    requireHeader(() => basic("robot:new"));
    const login = (text: string) =>
      dockerConfig({ auths: { "harbor.local": { auth: Buffer.from(text).toString("base64") } } });
    const client = createClient(await login("robot:old"));
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    await login("robot:new");
    expect(await client.getManifest(at)).toMatchObject({ mediaType: expect.any(String) });
  });

  it("may hold a token for the registry itself", async () => {
    requireHeader(() => "Bearer own", bearer());
    await createClient(await dockerConfig({ auths: { "harbor.local": { registrytoken: "own" } } })).getManifest(at);
    expect(tokenServer.requests).toHaveLength(0);
  });

  it("that makes no sense is told without its text, and counts as refused credentials", async () => {
    requireHeader(() => "nobody");
    const credentials = await dockerConfig({});
    await writeFile(credentials.dockerConfigFile, '{"auths": {"harbor.local": {"password": "hunter2"');
    const lines: string[] = [];
    const logger = createLogger({
      component: "test",
      level: "trace",
      destination: { write: (line: string) => void lines.push(line) },
    });
    const client = createClient(credentials, logger);
    for (let count = 0; count < 3; count += 1) {
      await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    }
    const warnings = lines.filter((line) => line.includes("credentials of an upstream cannot be had"));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`cannot use ${credentials.dockerConfigFile}: it is no JSON`);
    expect(lines.join("")).not.toContain("hunter2");
  });
});

describe("entries with a prefix", () => {
  it("are chosen by the longest one in whole components; the others get the entry without", async () => {
    requireHeader(() => "nobody");
    const entry = (username: string, prefix?: string) => ({ username, password: "pw", ...(prefix && { prefix }) });
    const client = createClient([entry("any"), entry("team", "team"), entry("app", "team/app")]);
    const asked: Record<string, string> = {
      "team/app": "app",
      "team/app/sub": "app",
      "team/apple": "team",
      team: "team",
      "teamwork/app": "any",
    };
    for (const [repository, user] of Object.entries(asked)) {
      registry.requests.length = 0;
      await client.getManifest({ ...at, repository }).catch(() => undefined);
      expect([repository, registry.requests.at(-1)?.headers.authorization]).toEqual([repository, basic(`${user}:pw`)]);
    }
  });

  it("leave the rest anonymous when every entry has one", async () => {
    requireHeader(() => "nobody");
    const client = createClient([{ prefix: "team", username: "team", password: "pw" }]);
    await expect(client.getManifest({ ...at, repository: "teamwork/app" })).rejects.toMatchObject({
      kind: "unauthorized",
    });
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("do not share a bearer token", async () => {
    requireHeader(() => "nobody", bearer());
    tokenServer.intercept = (_request, response) => answerJson(response, 200, { token: "t1", expires_in: 300 });
    const client = createClient([
      { username: "any", password: "pw" },
      { prefix: "team", username: "team", password: "pw" },
    ]);
    for (const repository of [REPOSITORY, "teamwork/app"]) {
      await client.getManifest({ ...at, repository }).catch(() => undefined);
    }
    const shown = new Set(tokenServer.requests.map(({ headers }) => headers.authorization));
    expect([...shown]).toEqual([basic("team:pw"), basic("any:pw")]);
  });
});

describe("a credential helper", () => {
  it("is asked for the registry's name", async () => {
    const name = `test-${process.pid}`;
    const file = join(folder, `docker-credential-${name}`);
    await writeFile(
      file,
      `#!/bin/sh\nread -r server\necho "{\\"Username\\":\\"robot\\",\\"Secret\\":\\"for $server\\"}"\n`,
    );
    await chmod(file, 0o755);
    const path = process.env.PATH;
    process.env.PATH = `${folder}:${path}`;
    try {
      requireHeader(() => basic("robot:for harbor.local"));
      await createClient({ helper: name }).getManifest(at);
      const credHelpers = { "harbor.local": name };
      await createClient(await dockerConfig({ credHelpers })).getManifest(at);
      expect(registry.requests.filter(({ headers }) => headers.authorization)).toHaveLength(2);
    } finally {
      process.env.PATH = path;
    }
  });
});
