import { describe, expect, it } from "vitest";
import { nextLink, pageOf } from "./page.ts";

const page = (query: string) => pageOf(new URLSearchParams(query));

describe("pageOf", () => {
  it("caps what one page holds", () => {
    expect(page("")).toEqual({ limit: 1_000 });
    expect(page("n=7")).toEqual({ limit: 7 });
    expect(page("n=0")).toEqual({ limit: 0 });
    expect(page("n=9999999999")).toEqual({ limit: 1_000 });
    expect(page("n=7&last=v1")).toEqual({ limit: 7, last: "v1" });
    expect(page("last=")).toEqual({ limit: 1_000 });
  });

  it("refuses what is no number", () => {
    for (const n of ["-1", "1.5", "abc", "", "0x10", "99999999999"]) expect(() => page(`n=${n}`)).toThrow("n must be");
    expect(() => page(`last=${"x".repeat(513)}`)).toThrow("last is longer");
  });
});

describe("nextLink", () => {
  it("leads to the next page of the same listing", () => {
    const link = nextLink("/v2/a/tags/list", { limit: 2, last: "b&c" }, { ns: "docker.io", owner: null });
    expect(link).toBe('</v2/a/tags/list?n=2&last=b%26c&ns=docker.io>; rel="next"');
  });
});
