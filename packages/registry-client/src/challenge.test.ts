import { describe, expect, it } from "vitest";
import { parseChallenges } from "./challenge.ts";

const realm = "https://auth.docker.io/token";

describe("parseChallenges", () => {
  it.each([
    [`Bearer realm="${realm}",service="registry.docker.io",scope="repository:library/nginx:pull,push"`],
    [`bearer  realm = "${realm}" , service=registry.docker.io,scope="repository:library/nginx:pull,push",`],
  ])("reads %s", (header) => {
    expect(parseChallenges(header)).toEqual([
      {
        scheme: "bearer",
        parameters: { realm, service: "registry.docker.io", scope: "repository:library/nginx:pull,push" },
      },
    ]);
  });

  it("reads several challenges, of one header or of many", () => {
    const expected = [
      { scheme: "basic", parameters: { realm: "a, b" } },
      { scheme: "bearer", parameters: { realm } },
    ];
    expect(parseChallenges(`Basic realm="a, b", Bearer realm="${realm}"`)).toEqual(expected);
    expect(parseChallenges(['Basic realm="a, b"', `Bearer realm="${realm}"`])).toEqual(expected);
    expect(parseChallenges(`Negotiate dGVzdA==, Bearer realm="${realm}"`).map(({ scheme }) => scheme)).toEqual([
      "negotiate",
      "bearer",
    ]);
    expect(parseChallenges("Basic")).toEqual([{ scheme: "basic", parameters: {} }]);
  });

  it("unescapes, and takes the first of repeated parameters", () => {
    expect(parseChallenges('Bearer realm="a\\"b",realm="c"')[0]?.parameters).toEqual({ realm: 'a"b' });
  });

  it.each([
    undefined,
    "",
    ",,,",
    "=",
    '"',
    'Bearer realm="unterminated',
    "Bearer realm=",
    "\u0000",
  ])("%j holds no realm", (header) => {
    expect(parseChallenges(header).every(({ parameters }) => parameters.realm === undefined)).toBe(true);
  });

  it("a header without end is read quickly", () => {
    const started = performance.now();
    parseChallenges(`Bearer ${'realm="'.repeat(100_000)}`);
    parseChallenges("a ".repeat(1_000_000));
    expect(performance.now() - started).toBeLessThan(200);
  });
});
