import { silentLogger } from "@cache-registry/runtime/logger";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { basicIdentity } from "./credentials/identity.ts";
import { answerJson, createScriptedRegistry, type ScriptedRegistry } from "./testing/scripted-registry.ts";
import { createTokenSource, type TokenRequest, type TokenSource } from "./token.ts";
import { createTransport, type Transport } from "./transport.ts";
import { findUpstream, upstreamListSchema } from "./upstream.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;

let service: ScriptedRegistry;
let transport: Transport;
let tokens: TokenSource;
let time: number;
let request: TokenRequest;

/** Answers with these fields beside a new token each time. */
function giveTokens(fields: object): void {
  service.intercept = (_request, response) =>
    answerJson(response, 200, { token: `t${service.requests.length}`, ...fields });
}

beforeEach(async () => {
  service = await createScriptedRegistry();
  const upstreams = upstreamListSchema.parse([{ registry: "harbor.local", endpoints: [service.url] }]);
  transport = createTransport({ upstreams, policy: "listed" });
  time = 1_000_000;
  tokens = createTokenSource({ transport, logger: silentLogger(), now: () => time });
  const demand = { realm: `${service.url}/token`, service: "harbor", scopes: ["repository:team/app:pull"] };
  const upstream = findUpstream(upstreams, "harbor.local");
  request = { upstream, endpoint: new URL(service.url), demand, identity: undefined };
});
afterEach(async () => {
  await transport.close();
  await service.stop();
});

describe("a bearer token", () => {
  it.each([
    ["short", { expires_in: 20 }, 18 * SECOND],
    ["usual", { expires_in: 300 }, 290 * SECOND],
    ["of unknown length", {}, 54 * SECOND],
    ["of no length", { expires_in: 0 }, 54 * SECOND],
    ["of a length in a text", { expires_in: "300" }, 54 * SECOND],
    ["for ever", { expires_in: 10 ** 9 }, 24 * HOUR - 10 * SECOND],
  ])("%s is used until shortly before its end", async (_what, fields, usable) => {
    giveTokens(fields);
    expect(await tokens.get(request)).toBe("t1");
    time += usable - 1;
    expect(await tokens.get(request)).toBe("t1");
    time += 1;
    expect(await tokens.get(request)).toBe("t2");
  });

  it("does not outlive the time that its answer took", async () => {
    service.intercept = (_request, response) => {
      time += 15 * SECOND;
      return answerJson(response, 200, { token: `t${service.requests.length}`, expires_in: 20 });
    };
    await tokens.get(request);
    time += 3 * SECOND;
    expect(await tokens.get(request)).toBe("t2");
  });

  it("is another for each realm, service, scope and identity", async () => {
    giveTokens({ expires_in: 300 });
    const { demand } = request;
    const others: TokenRequest[] = [
      request,
      { ...request, demand: { ...demand, realm: `${service.url}/other` } },
      { ...request, demand: { ...demand, service: undefined } },
      { ...request, demand: { ...demand, scopes: ["repository:team/other:pull"] } },
      { ...request, identity: basicIdentity("robot", "pw") },
      { ...request, identity: basicIdentity("robotp", "w") },
      { ...request, identity: { kind: "identity-token", token: "refresh" } },
    ];
    const first = await Promise.all(others.map((one) => tokens.get(one)));
    expect(new Set(first).size).toBe(others.length);
    expect(await Promise.all(others.map((one) => tokens.get(one)))).toEqual(first);
  });

  it("is asked for once, also when the first who wants it leaves", async () => {
    giveTokens({ expires_in: 300 });
    const leave = new AbortController();
    const first = tokens.get({ ...request, signal: leave.signal });
    const second = tokens.get(request);
    leave.abort(new Error("left"));
    await expect(first).rejects.toThrow("left");
    expect(await second).toBe("t1");
    expect(service.requests).toHaveLength(1);
  });
});
