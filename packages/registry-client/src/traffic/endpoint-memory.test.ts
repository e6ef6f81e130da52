import { beforeEach, describe, expect, it } from "vitest";
import { UpstreamError, type UpstreamErrorKind } from "../upstream-error.ts";
import { createEndpointMemory, type EndpointMemory, MAX_PAUSE_MS } from "./endpoint-memory.ts";

const registry = "docker.io";
const who = { registry, origin: "https://a.example", identity: "", resource: "manifest" };

let now: number;
let memory: EndpointMemory;

beforeEach(() => {
  now = 1_000_000;
  memory = createEndpointMemory({ now: () => now });
});

type Details = { status?: number; retryAfter?: number; code?: string };

function failed(kind: UpstreamErrorKind, { status, retryAfter, code }: Details = {}): UpstreamError {
  const cause = Object.assign(new Error("x"), { code });
  return new UpstreamError("too bad", { kind, registry, status, retryAfter, ...(code ? { cause } : {}) });
}

/** Asks once; undefined when it was not allowed to. */
function ask(outcome: UpstreamError | undefined, key = who): UpstreamError | undefined {
  try {
    const visit = memory.enter(key);
    if (outcome) visit.failed(outcome);
    else visit.succeeded();
    return undefined;
  } catch (error) {
    return error as UpstreamError;
  }
}

describe("an endpoint that said 429", () => {
  it("is left alone for as long as it said, whatever is asked for", () => {
    ask(failed("rate-limited", { status: 429, retryAfter: 30_000 }));
    now += 10_000;
    const refused = ask(undefined, { ...who, resource: "blob" });
    expect(refused).toMatchObject({ kind: "rate-limited", retryAfter: 20_000, status: undefined });
    expect(refused?.message).toBe("docker.io: too bad; it is not asked for another 20 s");
    expect(ask(undefined, { ...who, origin: "https://b.example" })).toBeUndefined();
    expect(ask(undefined, { ...who, identity: "somebody else's limit" })).toBeUndefined();
    expect(memory.blocked()).toEqual([{ registry, reason: "rate-limit", left: 20_000 }]);
    expect(memory.limitedUntil(registry)).toBe(now + 20_000);
    now += 20_000;
    expect(ask(undefined)).toBeUndefined();
    expect(memory.blocked()).toEqual([]);
  });

  it("is believed within bounds", () => {
    ask(failed("rate-limited", { status: 429, retryAfter: 24 * MAX_PAUSE_MS }));
    expect(memory.blocked()).toMatchObject([{ left: MAX_PAUSE_MS }]);
    now += MAX_PAUSE_MS;
    ask(failed("rate-limited", { status: 429, retryAfter: 0 }));
    expect(memory.blocked()).toMatchObject([{ left: 1_000 }]);
  });

  it("without a time is left alone longer each time, at most ten seconds", () => {
    const left = [1, 2, 3, 4, 5, 6].map(() => {
      ask(failed("rate-limited", { status: 429 }));
      const [block] = memory.blocked();
      now += block?.left ?? 0;
      return block?.left;
    });
    expect(left).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  it("is not what our own rate says", () => {
    ask(failed("rate-limited", { retryAfter: 30_000 }));
    expect(memory.blocked()).toEqual([]);
  });
});

describe("an endpoint that fails", () => {
  it.each<[string, number, UpstreamError]>([
    ["cannot be connected to in time", 1, failed("unreachable", { code: "UND_ERR_CONNECT_TIMEOUT" })],
    ["says 503 and when to come back", 1, failed("server", { status: 503, retryAfter: 2_000 })],
    ["refuses connections", 3, failed("unreachable", { code: "ECONNREFUSED" })],
    ["does not answer in time", 3, failed("timeout", { code: "UND_ERR_HEADERS_TIMEOUT" })],
    ["answers 500", 6, failed("server", { status: 500 })],
  ])("and %s is left alone after %i in a row", (_how, times, error) => {
    for (let time = 0; time < times; time += 1) expect(ask(error)).toBeUndefined();
    expect(ask(error)).toMatchObject({ kind: error.kind, status: undefined });
    expect(ask(undefined, { ...who, resource: "blob" })).toBeUndefined();
  });

  it("is forgiven by one success, and an answer about the content is one", () => {
    for (let time = 0; time < 20; time += 1) {
      expect(ask(failed("timeout"))).toBeUndefined();
      expect(ask(failed("timeout"))).toBeUndefined();
      expect(ask(time % 2 ? undefined : failed("not-found", { status: 404 }))).toBeUndefined();
    }
  });

  it("is tried by one at a time, after one second, then two, at most ten", () => {
    const costly = failed("unreachable", { code: "UND_ERR_CONNECT_TIMEOUT" });
    ask(costly);
    for (const wait of [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      now += wait - 1;
      expect(ask(costly)).toMatchObject({ kind: "unreachable" });
      now += 1;
      const trial = memory.enter(who);
      expect(() => memory.enter(who)).toThrow(UpstreamError);
      trial.failed(costly);
    }
  });

  it("is tried again although the first that tried still waits, and at once when that one left", () => {
    ask(failed("unreachable", { code: "UND_ERR_CONNECT_TIMEOUT" }));
    now += 1_000;
    memory.enter(who);
    now += 10_000;
    const second = memory.enter(who);
    expect(() => memory.enter(who)).toThrow(UpstreamError);
    second.abandoned();
    memory.enter(who).succeeded();
    expect(memory.blocked()).toEqual([]);
    expect(ask(undefined)).toBeUndefined();
  });

  it("counts what was under way when it was given up as one failure", () => {
    const visits = Array.from({ length: 50 }, () => memory.enter(who));
    for (const visit of visits) visit.failed(failed("unreachable", { code: "UND_ERR_CONNECT_TIMEOUT" }));
    expect(memory.blocked()).toMatchObject([{ reason: "failing", left: 1_000 }]);
  });
});

describe("an endpoint that is tried again", () => {
  it.each([
    ["not-found", 404],
    ["invalid", 400],
    ["unauthorized", 401],
    ["rate-limited", 429],
  ] as const)("answers, also when it says %s: nobody else waits any longer", (kind, status) => {
    ask(failed("unreachable", { code: "EHOSTUNREACH" }));
    now += 1_000;
    ask(failed(kind, { status }));
    expect(memory.blocked().filter(({ reason }) => reason === "failing")).toEqual([]);
  });

  it("is tried by the next one when we ourselves refused", () => {
    ask(failed("unreachable", { code: "EHOSTUNREACH" }));
    now += 1_000;
    ask(failed("denied-by-policy"));
    expect(ask(undefined)).toBeUndefined();
  });
});
