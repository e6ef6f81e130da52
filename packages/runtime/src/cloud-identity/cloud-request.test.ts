import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ScriptedService, startScriptedService } from "../testing/scripted-service.ts";
import { createCloudRequests, errorCodeOf, lifetimeOf } from "./cloud-request.ts";

let service: ScriptedService;
const send = createCloudRequests();

beforeEach(async () => {
  service = await startScriptedService();
});
afterEach(() => service.close());

const get = (url: string) => send({ method: "GET", url: new URL(url) });

describe("a request to a cloud", () => {
  it("is not redirected with what it holds", async () => {
    service.answer = () => ({ status: 302, headers: { location: `${service.url}/other` } });
    expect(await get(`${service.url}/a`)).toMatchObject({ status: 302 });
    expect(service.requests).toHaveLength(1);
  });

  it("with an answer without end fails", async () => {
    service.answer = () => ({ body: "hunter2".repeat(100_000) });
    await expect(get(service.url)).rejects.toThrow(`${service.host}: the answer is too long`);
  });

  it("to nobody names host and reason, and nothing else", async () => {
    const gone = await startScriptedService();
    await gone.close();
    const error: unknown = await get(`${gone.url}/hunter2?x=hunter2`).catch((thrown: unknown) => thrown);
    expect(String(error)).toBe(`IdentityError: ${gone.host}: cannot be reached (ECONNREFUSED)`);
  });
});

describe("a lifetime", () => {
  const there = "Sat, 21 Nov 2026 10:00:00 GMT";

  it("is counted by the clock of who names the end", () => {
    const answer = { headers: new Headers({ date: there }) };
    expect(lifetimeOf("2026-11-21T22:00:00Z", answer)).toBe(12 * 3_600_000);
    expect(lifetimeOf(Date.parse(there) / 1000 + 60.5, answer)).toBe(60_500);
    expect(lifetimeOf("2026-11-21T09:00:00Z", answer)).toBe(0);
    expect(lifetimeOf("soon", answer)).toBe(0);
  });

  it("is counted by ours where there is no other", () => {
    const lifetime = lifetimeOf(new Date(Date.now() + 60_000).toISOString(), { headers: new Headers() });
    expect(lifetime).toBeGreaterThan(55_000);
    expect(lifetime).toBeLessThanOrEqual(60_000);
  });
});

it.each([
  ['{"__type":"com.amazonaws#AccessDeniedException"}', "com.amazonaws#AccessDeniedException"],
  ['{"__type":"AccessDeniedException","message":"hunter2"}', "AccessDeniedException"],
  ["<Error><Code>ExpiredToken</Code><Message>hunter2</Message></Error>", "ExpiredToken"],
  ['{"error":"invalid_grant","error_description":"hunter2"}', "invalid_grant"],
  ['{"errors":[{"code":"UNAUTHORIZED","message":"hunter2"}]}', "UNAUTHORIZED"],
  ['{"error":"a whole sentence with hunter2"}', undefined],
  ["hunter2", undefined],
])("the code of %s is %s", (text, code) => {
  expect(errorCodeOf(text)).toBe(code);
});
