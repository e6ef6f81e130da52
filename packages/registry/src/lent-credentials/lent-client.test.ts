import type { ManifestHead, UpstreamClient } from "@cache-registry/registry-client/client";
import { UpstreamError, type UpstreamErrorKind } from "@cache-registry/registry-client/upstream-error";
import { describe, expect, it } from "vitest";
import { withLentCredentials } from "./lent-client.ts";

const REQUEST = { registry: "harbor.local", repository: "team/app", reference: "1" };
const HEAD: ManifestHead = { digest: undefined, mediaType: "", size: undefined, headers: {} };

/** A client whose upstream answers each `Authorization` as told; `none` is a request without one. */
function clientFor(lent: readonly string[], answers: Readonly<Record<string, UpstreamErrorKind | "ok">>) {
  const asked: string[] = [];
  const refused: string[] = [];
  const client: Pick<UpstreamClient, "headManifest"> = {
    async headManifest({ authorization = "none" }) {
      asked.push(authorization);
      const kind = answers[authorization] ?? "unauthorized";
      if (kind !== "ok") throw new UpstreamError(`${authorization}: ${kind}`, { kind, registry: "harbor.local" });
      return HEAD;
    },
  };
  const credentials = {
    authorizationsFor: () => lent,
    refused: (_registry: string, _repository: string, authorization: string) => void refused.push(authorization),
  };
  const decorated = withLentCredentials(client as UpstreamClient, credentials);
  const headManifest: UpstreamClient["headManifest"] = (request) => decorated.headManifest(request);
  return { headManifest, asked, refused };
}

describe("a client with lent credentials", () => {
  it("uses the first that is let in", async () => {
    const { asked, refused, headManifest } = clientFor(["a", "b", "c"], { a: "unauthorized", b: "ok" });
    await headManifest(REQUEST);
    expect([asked, refused]).toEqual([["a", "b"], ["a"]]);
  });

  it("goes on as configured when all are refused, and tells of them, not of the stranger", async () => {
    const { asked, headManifest } = clientFor(["a"], {});
    await expect(headManifest(REQUEST)).rejects.toThrow("a: unauthorized");
    expect(asked).toEqual(["a", "none"]);
    await clientFor(["a"], { none: "ok" }).headManifest(REQUEST);
  });

  it("believes whoever was let in that there is nothing", async () => {
    const { refused, headManifest } = clientFor(["a", "b"], { b: "not-found" });
    await expect(headManifest(REQUEST)).rejects.toThrow("b: not-found");
    expect(refused).toEqual(["a"]);
  });

  it("does not take a failure for a refusal", async () => {
    const { asked, headManifest } = clientFor(["a", "b"], { a: "rate-limited" });
    await expect(headManifest(REQUEST)).rejects.toThrow("rate-limited");
    expect(asked).toEqual(["a"]);
  });

  it("asks as the caller when that brings credentials of its own", async () => {
    const { asked, headManifest } = clientFor(["a"], {});
    await expect(headManifest({ ...REQUEST, authorization: "own" })).rejects.toThrow("own: unauthorized");
    expect(asked).toEqual(["own"]);
  });

  it("tries a few, not all", async () => {
    const { asked, headManifest } = clientFor(["1", "2", "3", "4", "5", "6"], {});
    await expect(headManifest(REQUEST)).rejects.toThrow("1: unauthorized");
    expect(asked).toEqual(["1", "2", "3", "4", "none"]);
  });
});
