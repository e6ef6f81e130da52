import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ScriptedService,
  type ServiceAnswer,
  startScriptedService,
} from "@cache-registry/runtime/testing/scripted-service";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { type S3Server, startS3Server } from "../support/s3-server.ts";
import { type S3Sessions, startS3Sessions } from "../support/s3-sessions.ts";
import { type Image, makeImage } from "../support/test-content.ts";

/* A pod with a role for its service account, as EKS sets it up: STS gives it credentials that live for seconds. */

const MiB = 2 ** 20;
const LIFETIME_MS = 2_000;
const ROLE = "arn:aws:iam::123456789012:role/cache";
let s3: S3Server;
let gateway: S3Sessions;
let sts: ScriptedService;
let folder: string;
let tokenFile: string;
let registry: RegistryProcess;
let api: RegistryApi;
let identityToken = "";
let secrets: string[] = [];

beforeAll(async () => {
  s3 = await startS3Server();
  folder = await mkdtemp(join(tmpdir(), "creg-s3-role-"));
  tokenFile = join(folder, "token");
});
afterAll(async () => {
  await s3?.dispose();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  secrets = [];
  gateway = await startS3Sessions(s3);
  sts = await startScriptedService();
  sts.answer = ({ form }) => (form.RoleArn === ROLE && form.WebIdentityToken === identityToken ? issue() : REFUSED);
  await replaceToken();
});
afterEach(async () => {
  await registry?.dispose();
  await Promise.all([sts.close(), gateway.close()]);
});

const REFUSED = { status: 403, body: "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>" };

/** As the kubelet does from time to time. */
async function replaceToken(): Promise<void> {
  identityToken = `jwt-${randomBytes(8).toString("hex")}`;
  secrets.push(identityToken);
  await writeFile(tokenFile, identityToken);
}

function issue(): ServiceAnswer {
  const random = () => randomBytes(12).toString("hex");
  const session = { accessKeyId: `ASIA${random()}`, secretAccessKey: random(), sessionToken: random() };
  secrets.push(session.secretAccessKey, session.sessionToken);
  const expiresAt = Date.now() + LIFETIME_MS;
  // HTTP's Date, from which a lifetime is counted, has no fractions of seconds; and this machine may be busy.
  gateway.sessions.set(session.accessKeyId, { ...session, expiresAt: expiresAt + 3_000 });
  const { accessKeyId, secretAccessKey, sessionToken } = session;
  const fields = `<AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey><SessionToken>${sessionToken}</SessionToken>`;
  return {
    body: `<Credentials>${fields}<Expiration>${new Date(expiresAt).toISOString()}</Expiration></Credentials>`,
  };
}

async function start(blobs: object = {}): Promise<void> {
  const { endpoint } = gateway;
  const { bucket } = s3.location;
  registry = await startRegistryProcess(
    {
      storage: { blobs: { driver: "s3", s3: { bucket, endpoint, prefix: randomBytes(4).toString("hex") }, ...blobs } },
      log: { level: "debug", access: true },
    },
    {
      env: {
        AWS_ROLE_ARN: ROLE,
        AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile,
        AWS_REGION: "us-east-1",
        AWS_STS_REGIONAL_ENDPOINTS: "regional",
        AWS_ENDPOINT_URL_STS: sts.url,
      },
    },
  );
  api = createRegistryApi(registry.url);
}

async function expectPullable(repository: string, { manifest, blobs }: Image): Promise<void> {
  expect(await api.get(`${repository}/manifests/${manifest.digest}`)).toEqual(manifest.bytes);
  for (const { digest, bytes } of blobs) {
    expect((await api.get(`${repository}/blobs/${digest}`)).equals(bytes)).toBe(true);
  }
}

describe("a registry with a role on S3", () => {
  it("pushes and pulls while its credentials and the token for them are replaced, and shows none of them", async () => {
    await start();
    const pushed: Image[] = [];
    let going = true;
    const pushOn = async (layer: number): Promise<void> => {
      while (going) {
        const image = makeImage([layer]);
        await api.pushImage("role/app", `v${pushed.length}`, image);
        pushed.push(image);
        await expectPullable("role/app", pushed[Math.floor(Math.random() * pushed.length)] ?? image);
      }
    };
    // The larger one is sent in parts.
    const pushing = Promise.all([pushOn(100_000), pushOn(17 * MiB)]);
    const anotherSession = () => {
      const { size } = gateway.sessions;
      return eventually(() => expect(gateway.sessions.size).toBeGreaterThan(size));
    };
    const replaced = anotherSession().then(replaceToken).then(anotherSession);
    await Promise.race([replaced, pushing]).finally(() => {
      going = false;
    });
    await pushing;
    expect(pushed.length).toBeGreaterThan(2);
    expect(gateway.refused).toEqual([]);
    for (const secret of secrets) expect(registry.output()).not.toContain(secret);
  });

  it("answers 503 when STS gives none any more, says why, and goes on when it does", async () => {
    await start();
    const image = makeImage([1_000]);
    await api.pushImage("role/app", "v1", image);
    const path = `role/app/blobs/${image.blobs[1]?.digest}`;
    const answer = sts.answer;
    sts.answer = () => ({ status: 503 });
    await eventually(async () => expect((await api.request("GET", path)).status).toBe(503));
    expect(registry.output()).toContain("(AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE): ");
    sts.answer = answer;
    await eventually(async () => expect((await api.request("GET", path)).status).toBe(200));
    await expectPullable("role/app", image);
  });

  it("signs URLs with its session", async () => {
    await start({ redirect: "presigned" });
    const image = makeImage([1_000]);
    await api.pushImage("role/app", "v1", image);
    const [, layer = image.manifest] = image.blobs;
    const redirect = await api.request("GET", `role/app/blobs/${layer.digest}`);
    expect(redirect.status).toBe(307);
    const location = new URL(redirect.headers.get("location") ?? "");
    expect(secrets).toContain(location.searchParams.get("X-Amz-Security-Token"));
    expect(Buffer.from(await (await fetch(location)).arrayBuffer()).equals(layer.bytes)).toBe(true);
    location.searchParams.set("X-Amz-Security-Token", "of somebody else");
    expect((await fetch(location)).status).toBe(400);
    for (const secret of secrets) expect(registry.output()).not.toContain(secret);
  });
});
