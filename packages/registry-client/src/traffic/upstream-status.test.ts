import type { Logger } from "@cache-registry/runtime/logger";
import { beforeEach, describe, expect, it } from "vitest";
import { findUpstream, upstreamListSchema } from "../upstream.ts";
import { UpstreamError, type UpstreamErrorOptions } from "../upstream-error.ts";
import { createUpstreamStatus, type UpstreamStatus } from "./upstream-status.ts";

const registry = "a.example.com";
const upstreamAt = (...endpoints: string[]) =>
  findUpstream(upstreamListSchema.parse([{ registry, endpoints }]), registry);
const [first, second] = ["https://first.example.com", "https://second.example.com"];
const upstream = upstreamAt(first);
const manifests = { registry, origin: first, resource: "manifest", foreign: false };
const blobs = { ...manifests, resource: "blob" };
const error = (message: string, options: Partial<UpstreamErrorOptions>) =>
  new UpstreamError(message, { kind: "unreachable", registry, ...options });
const refused = error("connection refused", { kind: "unreachable" });
const wrong = error("its token service refuses the credentials (401)", {
  kind: "unauthorized",
  status: 401,
  ofCredentials: true,
});

let now: Date;
let status: UpstreamStatus;

beforeEach(() => {
  now = new Date("2030-01-02T03:04:05Z");
  status = createUpstreamStatus({ now: () => now });
});

describe("createUpstreamStatus", () => {
  it("tells since when an upstream does not answer, until it does", () => {
    expect(status.troublesOf(upstream)).toEqual([]);
    status.failed(manifests, refused);
    now = new Date("2030-01-02T03:05:00Z");
    status.failed(manifests, error("no answer in time", { kind: "timeout" }));
    status.failed(blobs, refused);
    expect(status.troublesOf(upstream)).toEqual(["not answering since 2030-01-02T03:04:05.000Z: no answer in time"]);
    status.succeeded(manifests);
    expect(status.troublesOf(upstream)).toEqual([
      "blobs: not answering since 2030-01-02T03:05:00.000Z: connection refused",
    ]);
    status.failed(blobs, error("answered 503", { kind: "server", status: 503 }));
    expect(status.troublesOf(upstream)).toEqual(["blobs: failing since 2030-01-02T03:05:00.000Z: answered 503"]);
    status.failed(blobs, error("not found", { kind: "not-found", status: 404 }));
    expect(status.troublesOf(upstream)).toEqual([]);
  });

  it("tells of refused credentials and of such that cannot be had, but not of what a caller brought", () => {
    status.failed({ ...manifests, foreign: true }, wrong);
    expect(status.troublesOf(upstream)).toEqual([]);
    status.failed(manifests, wrong);
    status.succeeded({ ...manifests, foreign: true });
    const text = "since 2030-01-02T03:04:05.000Z: its token service refuses the credentials (401)";
    expect(status.troublesOf(upstream)).toEqual([`credentials refused ${text}`]);
    const cause = new Error("docker-credential-x failed (exit code 1)");
    status.failed(blobs, error("its credentials cannot be had", { kind: "unauthorized", ofCredentials: true, cause }));
    expect(status.troublesOf(upstream)).toEqual([
      "credentials missing since 2030-01-02T03:04:05.000Z: docker-credential-x failed (exit code 1)",
    ]);
    // A right that is missing for one repository says that we are known.
    status.failed(manifests, error("access refused (401)", { kind: "unauthorized", status: 401 }));
    expect(status.troublesOf(upstream)).toEqual([]);
  });

  it("logs when something begins and ends, once, and only of listed upstreams", () => {
    const lines: unknown[] = [];
    const logger = {
      warn: (fields: object, text: string) => lines.push([text, fields]),
      info: (fields: object, text: string) => lines.push([text, fields]),
    } as unknown as Logger;
    const logging = createUpstreamStatus({ logger, isListed: (name) => name === registry, now: () => now });
    const fields = { upstream: registry, endpoint: first, resource: "manifest" };
    for (let times = 0; times < 3; times += 1) logging.failed(manifests, refused);
    logging.failed({ ...manifests, registry: "made-up.example.com" }, refused);
    logging.succeeded(manifests);
    logging.succeeded(manifests);
    // Again at once: the log has it already.
    logging.failed(manifests, refused);
    logging.succeeded(manifests);
    logging.failed(manifests, error("too many requests", { kind: "rate-limited", status: 429, retryAfter: 7_000 }));
    expect(lines).toEqual([
      ["upstream: not answering", { ...fields, reason: "connection refused" }],
      ["upstream works again", { ...fields, was: "not answering", since: now.toISOString() }],
      ["upstream: limits us", { ...fields, reason: "retry after 7000 ms" }],
    ]);
  });

  it("names the endpoint where there are several, and knows only those of the configuration", () => {
    status.failed({ ...manifests, origin: second }, refused);
    expect(status.troublesOf(upstreamAt(first, second))).toEqual([
      "second.example.com: not answering since 2030-01-02T03:04:05.000Z: connection refused",
    ]);
    expect(status.troublesOf(upstream)).toEqual([]);
    status.forget(registry);
    expect(status.troublesOf(upstreamAt(first, second))).toEqual([]);
  });
});
