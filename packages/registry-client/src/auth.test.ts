import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useClients } from "./testing/clients.ts";
import {
  answerJson,
  createScriptedRegistry,
  manifestBytes,
  type ScriptedRegistry,
} from "./testing/scripted-registry.ts";

const REPOSITORY = "team/app";
const at = { registry: "harbor.local", repository: REPOSITORY, reference: "1" };
const credentials = { username: "robot", password: "hunter2" };
const BASIC = `Basic ${Buffer.from("robot:hunter2").toString("base64")}`;

let registry: ScriptedRegistry;
/** On another port of the same host; its name decides whether it belongs to the registry. */
let tokenServer: ScriptedRegistry;
let digest: string;
const clientOf = useClients(() => ({ registry: "harbor.local", endpoints: [registry.url] }));
const createClient = (upstream: object = {}, policy: "public" | "any" = "public") => clientOf({ upstream, policy });

/** Lets in whoever shows the token; others are sent to the realm. */
function requireToken(
  token: () => string,
  realm = `${tokenServer.url}/token`,
  scope = `repository:${REPOSITORY}:pull`,
) {
  registry.intercept = (request, response) => {
    if (request.headers.authorization === `Bearer ${token()}`) return false;
    const challenge = `Bearer realm="${realm}",service="harbor",scope="${scope}"`;
    return answerJson(response, 401, {}, { "www-authenticate": challenge });
  };
}

function giveToken(answer: () => object) {
  tokenServer.intercept = (_request: IncomingMessage, response: ServerResponse) => answerJson(response, 200, answer());
}

beforeEach(async () => {
  registry = await createScriptedRegistry();
  tokenServer = await createScriptedRegistry();
  digest = registry.addManifest(REPOSITORY, manifestBytes("a"), "1");
});

afterEach(async () => {
  await Promise.all([registry.stop(), tokenServer.stop()]);
});

describe("bearer tokens", () => {
  it("are fetched anonymously, kept, and asked for once however many callers wait", async () => {
    requireToken(() => "t1");
    giveToken(() => ({ token: "t1", expires_in: 300 }));
    const client = createClient();
    const all = await Promise.all(Array.from({ length: 5 }, () => client.getManifest(at)));
    expect(all.every((manifest) => manifest.digest === digest)).toBe(true);
    await client.getManifest(at);
    expect(tokenServer.requests.map(({ url, headers }) => ({ url, authorization: headers.authorization }))).toEqual([
      { url: `/token?service=harbor&scope=repository%3Ateam%2Fapp%3Apull`, authorization: undefined },
    ]);
    // Five were refused first; the sixth knew.
    expect(registry.requests).toHaveLength(11);
  });

  it("take the configured credentials, never more than the right to pull", async () => {
    requireToken(() => "t1", `${tokenServer.url}/token`, `repository:${REPOSITORY}:pull,push,delete`);
    giveToken(() => ({ access_token: "t1" }));
    expect(await createClient({ credentials }).getManifest(at)).toMatchObject({ digest });
    expect(tokenServer.requests[0]?.headers.authorization).toBe(BASIC);
    expect(decodeURIComponent(tokenServer.requests[0]?.url ?? "")).toContain(`scope=repository:${REPOSITORY}:pull`);
    expect(tokenServer.requests[0]?.url).not.toContain("push");
    // The password itself is not for the registry, only the token.
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, "Bearer t1"]);
  });

  it("are renewed when the registry refuses a held one, and an endless refusal ends", async () => {
    let valid = "t1";
    requireToken(() => valid);
    giveToken(() => ({ token: valid }));
    const client = createClient();
    await client.getManifest(at);
    valid = "t2";
    expect(await client.getManifest(at)).toMatchObject({ digest });
    giveToken(() => ({ token: "wrong" }));
    valid = "t3";
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized", status: 401 });
  });

  it.each([
    [
      "a redirect",
      (response: ServerResponse) => void response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(),
    ],
    ["no JSON", (response: ServerResponse) => void response.end("<html>")],
    [
      "a token with a line break",
      (response: ServerResponse) => void response.end(JSON.stringify({ token: "a\r\nx: y" })),
    ],
    ["a body without end", (response: ServerResponse) => void response.end(Buffer.alloc(1024 * 1024, 32))],
    ["404", (response: ServerResponse) => void response.writeHead(404).end()],
  ])("%s from the token service is no answer about the content", async (_name, answer) => {
    requireToken(() => "t1");
    tokenServer.intercept = (_request, response) => {
      answer(response);
      return true;
    };
    const error: unknown = await createClient()
      .getManifest(at)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "UpstreamError" });
    expect(error).not.toMatchObject({ kind: "not-found" });
  });

  it("a token service that limits or fails says so", async () => {
    requireToken(() => "t1");
    tokenServer.intercept = (_request, response) => answerJson(response, 429, {}, { "retry-after": "3" });
    await expect(createClient().getManifest(at)).rejects.toMatchObject({ kind: "rate-limited", retryAfter: 3000 });
    tokenServer.intercept = (_request, response) => answerJson(response, 500, {});
    await expect(createClient().getManifest(at)).rejects.toMatchObject({ kind: "server" });
  });
});

describe("realms", () => {
  it("credentials never go to a realm of another host", async () => {
    requireToken(() => "t1", tokenServer.url.replace("127.0.0.1", "localhost"));
    giveToken(() => ({ token: "t1" }));
    expect(await createClient({ credentials }, "any").getManifest(at)).toMatchObject({ digest });
    expect(tokenServer.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it("credentials go to a realm of another host that the user listed, whatever its address", async () => {
    const realm = tokenServer.url.replace("127.0.0.1", "localhost");
    requireToken(() => "t1", realm);
    giveToken(() => ({ token: "t1" }));
    const client = createClient({ credentials, tokenHosts: [new URL(realm).host] });
    expect(await client.getManifest(at)).toMatchObject({ digest });
    expect(tokenServer.requests.map(({ headers }) => headers.authorization)).toEqual([BASIC]);
  });

  it("a realm on a private address of another host is not asked at all", async () => {
    requireToken(() => "t1", tokenServer.url.replace("127.0.0.1", "localhost"));
    await expect(createClient({ credentials }).getManifest(at)).rejects.toMatchObject({ kind: "denied-by-policy" });
    expect(tokenServer.requests).toHaveLength(0);
  });
});

describe("basic", () => {
  beforeEach(() => {
    registry.intercept = (request, response) =>
      request.headers.authorization === BASIC
        ? false
        : answerJson(response, 401, {}, { "www-authenticate": 'Basic realm="harbor"' });
  });

  it("credentials come from files that may change", async () => {
    const folder = await mkdtemp(join(tmpdir(), "credentials-"));
    const files = { usernameFile: join(folder, "username"), passwordFile: join(folder, "password") };
    await writeFile(files.usernameFile, "robot\n");
    await writeFile(files.passwordFile, "wrong\n");
    const client = createClient({ credentials: files });
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    await writeFile(files.passwordFile, "hunter2\n");
    expect(await client.getManifest(at)).toMatchObject({ digest });
    await rm(folder, { recursive: true });
    const error: unknown = await client.getManifest(at).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: "unauthorized" });
    expect(String(error)).not.toContain("hunter2");
  });

  it("without credentials the refusal stands; the caller's own replace the configured", async () => {
    await expect(createClient().getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
    const client = createClient({ credentials: { username: "robot", password: "old" } });
    expect(await client.getManifest({ ...at, authorization: BASIC })).toMatchObject({ digest });
    await expect(client.getManifest(at)).rejects.toMatchObject({ kind: "unauthorized" });
  });
});

describe("redirects", () => {
  const redirect = (location: string) => {
    registry.intercept = (request, response) => {
      if (!request.url?.includes("/blobs/") || request.url.includes("moved")) return false;
      response.writeHead(307, { location }).end();
      return true;
    };
  };
  const blobAt = { registry: "harbor.local", repository: REPOSITORY };

  it("are followed with the range and without Authorization to another port", async () => {
    const blob = Buffer.from("0123456789");
    const blobDigest = tokenServer.addBlob(blob);
    registry.intercept = (request, response) => {
      if (request.headers.authorization === BASIC) {
        response.writeHead(307, { location: `${tokenServer.url}/v2/x/blobs/${blobDigest}?signature=s` }).end();
        return true;
      }
      return answerJson(response, 401, {}, { "www-authenticate": "Basic" });
    };
    const client = createClient({ credentials });
    const { offset, stream } = await client.getBlob({ ...blobAt, digest: blobDigest, offset: 3 });
    expect({ offset, body: await text(stream) }).toEqual({ offset: 3, body: "3456789" });
    expect(tokenServer.requests[0]?.headers.authorization).toBeUndefined();
    expect(tokenServer.requests[0]?.headers.range).toBe("bytes=3-");
  });

  it.each([
    ["a metadata service", "http://169.254.169.254/latest/", "denied-by-policy"],
    ["a loopback name", "http://localhost:1/", "denied-by-policy"],
    ["a private address in disguise", "http://0x7f.1:1/../", "unreachable"],
    ["a file", "file:///etc/passwd", "invalid"],
    ["user information", "http://user:secret@127.0.0.1/", "invalid"],
  ])("to %s are refused", async (_name, location, kind) => {
    redirect(location);
    const asked = createClient().getBlob({ ...blobAt, digest: digest });
    await expect(asked).rejects.toMatchObject({ kind });
  });

  it("in a circle end", async () => {
    redirect(`/v2/${REPOSITORY}/blobs/${digest}`);
    await expect(createClient().getBlob({ ...blobAt, digest })).rejects.toMatchObject({ kind: "invalid" });
    expect(registry.requests).toHaveLength(6);
  });

  it("to a storage that refuses its own signature are the registry's failure", async () => {
    tokenServer.intercept = (_request, response) => answerJson(response, 403, {});
    redirect(`${tokenServer.url}/bucket`);
    await expect(createClient().getBlob({ ...blobAt, digest })).rejects.toMatchObject({ kind: "server", status: 403 });
  });
});
