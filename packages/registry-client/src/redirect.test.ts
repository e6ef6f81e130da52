import { describe, expect, it } from "vitest";
import { redirectedHeaders, redirectTarget } from "./redirect.ts";

const from = new URL("https://registry.example.com/v2/app/blobs/x");

describe("redirectTarget", () => {
  it.each([
    ["https://cdn.example.com/x?signature=s#part", "https://cdn.example.com/x?signature=s"],
    ["/elsewhere", "https://registry.example.com/elsewhere"],
    ["//cdn.example.com/x", "https://cdn.example.com/x"],
  ])("%s leads to %s", (location, target) => expect(redirectTarget(from, location, "a.io").href).toBe(target));

  it.each([
    [undefined, "to no URL"],
    ["http://", "to no URL"],
    ["http://registry.example.com/x", "from https to http"],
    ["HTTP://cdn.example.com", "from https to http"],
    ["file:///etc/passwd", "to another protocol"],
    ["data:text/plain,x", "to another protocol"],
    ["https://user@cdn.example.com/", "with credentials"],
  ])("%s is refused: %s", (location, why) => expect(() => redirectTarget(from, location, "a.io")).toThrow(why));

  it("goes from http to either", () => {
    const plain = new URL("http://registry.local/");
    expect(redirectTarget(plain, "http://cdn.local/", "a.io").protocol).toBe("http:");
    expect(redirectTarget(plain, "https://cdn.local/", "a.io").protocol).toBe("https:");
  });
});

describe("redirectedHeaders", () => {
  it.each([
    ["https://registry.example.com/other", true],
    ["https://registry.example.com:444/other", false],
    ["https://cdn.registry.example.com/", false],
    ["https://registry.example.com.evil.example/", false],
  ])("to %s keep Authorization: %s", (target, kept) => {
    const headers = redirectedHeaders(from, new URL(target), { authorization: "Basic x", range: "bytes=1-" });
    expect(headers).toEqual({ range: "bytes=1-", ...(kept ? { authorization: "Basic x" } : {}) });
  });
});
