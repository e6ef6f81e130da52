import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useClients } from "./testing/clients.ts";
import { answerJson, createScriptedRegistry, type ScriptedRegistry } from "./testing/scripted-registry.ts";

const at = { registry: "harbor.local", repository: "team/app", reference: "1" };
const credentials = { username: "robot", password: "hunter2" };

let registry: ScriptedRegistry;
let tokenServer: ScriptedRegistry;
const clientOf = useClients(() => ({ registry: "harbor.local", endpoints: [registry.url] }));
const createClient = (upstream: object = {}, policy: "public" | "any" = "public") => clientOf({ upstream, policy });

/** Nobody is let in: all are sent to the realm. */
function requireToken(realm = `${tokenServer.url}/token`) {
  const challenge = `Bearer realm="${realm}",service="harbor"`;
  registry.intercept = (_request, response) => answerJson(response, 401, {}, { "www-authenticate": challenge });
}

beforeEach(async () => {
  registry = await createScriptedRegistry();
  tokenServer = await createScriptedRegistry();
});

afterEach(async () => {
  await Promise.all([registry.stop(), tokenServer.stop()]);
});

describe("refusals", () => {
  it("keep no connection when they cannot be answered, however long they are", async () => {
    const login = Buffer.alloc(1024 * 1024, "<p>log in</p>");
    registry.intercept = (request, response) => {
      if (request.url?.includes("/blobs/")) return false;
      response.writeHead(401, { "www-authenticate": 'Bearer realm="ftp://harbor.local/token"' }).end(login);
      return true;
    };
    const client = createClient({ concurrency: 1 });
    // More than there are connections.
    for (let count = 0; count < 20; count += 1) {
      await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "invalid" });
    }
  });

  it("tell whether it is the credentials, or a right that they lack", async () => {
    requireToken();
    tokenServer.intercept = (_request, response) => answerJson(response, 401, {});
    const ofToken = createClient({ credentials }).getManifest(at);
    await expect(ofToken).rejects.toMatchObject({
      ofCredentials: true,
      message: "harbor.local: its token service refuses the credentials (401)",
    });
    tokenServer.intercept = (_request, response) => answerJson(response, 200, { token: "another" });
    await expect(createClient({ credentials }).getManifest(at)).rejects.toMatchObject({ ofCredentials: false });
    registry.intercept = (_request, response) =>
      answerJson(response, 401, {}, { "www-authenticate": 'Basic realm="here"' });
    await expect(createClient({ credentials }).getManifest(at)).rejects.toMatchObject({ ofCredentials: true });
    await expect(createClient().getManifest(at)).rejects.toMatchObject({ ofCredentials: false });
  });

  it("and failures of a token service or a storage do not look like the registry's own", async () => {
    requireToken();
    const { host } = tokenServer;
    await tokenServer.stop();
    await expect(createClient().getManifest(at)).rejects.toMatchObject({
      kind: "unreachable",
      message: `harbor.local: its token service ${host}: connection refused`,
    });
    registry.intercept = (_request, response) =>
      answerJson(response, 307, {}, { location: `${tokenServer.url}/bucket` });
    await expect(createClient().getManifest(at)).rejects.toMatchObject({
      kind: "unreachable",
      message: `harbor.local: ${host}, to which it redirects: connection refused`,
    });
    await tokenServer.start();
    requireToken();
    tokenServer.intercept = (_request, response) => answerJson(response, 429, {}, { "retry-after": "7" });
    await expect(createClient().getManifest(at)).rejects.toMatchObject({
      retryAfter: 7_000,
      message: `harbor.local: its token service ${host}: too many requests`,
    });
  });

  it("of a token service that is not trusted say which, and how that is changed", async () => {
    const realm = tokenServer.url.replace("127.0.0.1", "localhost");
    requireToken(`${realm}/token`);
    tokenServer.intercept = (_request, response) => answerJson(response, 401, {});
    await expect(createClient({ credentials }, "any").getManifest(at)).rejects.toMatchObject({
      message: `harbor.local: its token service ${new URL(realm).host} is not among tokenHosts: asked without credentials it refuses (401)`,
    });
  });
});
