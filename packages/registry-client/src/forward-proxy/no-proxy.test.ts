import { describe, expect, it } from "vitest";
import { parseNoProxy } from "./no-proxy.ts";

describe("parseNoProxy", () => {
  it.each<[list: string | undefined, host: string, direct: boolean]>([
    [undefined, "a.example", false],
    ["", "a.example", false],
    ["*", "a.example", true],
    ["example.com", "example.com", true],
    ["example.com", "Registry.Example.COM.", true],
    ["example.com", "notexample.com", false],
    [".example.com", "example.com", false],
    [".example.com", "registry.example.com", true],
    ["*.example.com", "registry.example.com", true],
    ["*.example.com", "example.com", false],
    ["a.example , b.example", "b.example", true],
    ["svc,cluster.local", "registry.default.svc", true],
    ["10.0.0.0/8", "10.2.3.4", true],
    ["10.0.0.0/8", "11.2.3.4", false],
    ["10.0.0.0/8", "10.example.com", false],
    ["fd00::/8", "[fd12::1]", true],
    ["fd00::/8", "10.0.0.1", false],
    ["10.0.0.0/99", "10.2.3.4", false],
    ["192.168.1.1", "192.168.1.1", true],
    ["192.168.1.1", "192.168.1.10", false],
    ["::1", "[::1]", true],
    ["0:0:0:0:0:0:0:1", "[::1]", true],
    ["example.com:8443", "example.com", false],
    ["example.com:443", "a.example.com", true],
    ["192.168.1.1:443", "192.168.1.1", true],
    ["[fd12::1]:443", "[fd12::1]", true],
    ["[fd12::1]:80", "[fd12::1]", false],
    ["%%%,/,:", "a.example", false],
  ])("%s: %s is dialled directly: %s", (list, host, direct) => expect(parseNoProxy(list)(host, 443)).toBe(direct));
});
