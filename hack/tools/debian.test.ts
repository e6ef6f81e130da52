import { describe, expect, it } from "vitest";
import { missingDebianPackages } from "./debian.ts";

describe("missingDebianPackages", () => {
  it("looks for a file of each package, wherever it may be", () => {
    const exists = (path: string) => path === "/sbin/ip" || path === "/usr/bin/openssl";
    expect(missingDebianPackages(["iproute2", "openssl", "iptables"], exists)).toEqual(["iptables"]);
  });

  it("refuses a package it knows no file of", () => {
    expect(() => missingDebianPackages(["emacs"])).toThrow(/emacs/);
  });
});
