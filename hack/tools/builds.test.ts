import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BUILDS, outputName, toolsOf } from "./builds.ts";
import { NPM_BUILDS, NPM_MODULES, npmPinHash } from "./npm-build.ts";
import { buildArguments, MODULES, pinHash } from "./pin.ts";

describe("the table of tools", () => {
  it("names each build and each tool once", () => {
    const names = BUILDS.map((build) => build.name);
    expect(new Set(names).size).toBe(names.length);
    const tools = BUILDS.flatMap(toolsOf);
    expect(new Set(tools).size).toBe(tools.length);
  });

  it.each(BUILDS.map((build) => [build.name, build] as const))("%s is pinned with checksums", (_name, build) => {
    expect(existsSync(join(MODULES, build.module, "go.sum"))).toBe(true);
    const pins = readFileSync(join(MODULES, build.module, "go.mod"), "utf8");
    const unpinned = Object.values(build.programs).filter((packagePath) =>
      packagePath.startsWith("./")
        ? !existsSync(join(MODULES, build.module, packagePath, "main.go"))
        : !pins.includes(packagePath),
    );
    const modules = Object.values(build.folders ?? {}).map(({ module }) => module);
    expect([...unpinned, ...modules.filter((module) => !pins.includes(`${module} v`))]).toEqual([]);
  });

  it.each([
    ["k8s.io/kubernetes/cmd/kubelet", "kubelet"],
    ["go.etcd.io/etcd/server/v3", "server"],
    ["./coredns", "coredns"],
  ])("go names the program of %s %s", (packagePath, name) => {
    expect(outputName(packagePath)).toBe(name);
  });
});

describe("tools of the npm registry", () => {
  it.each(NPM_BUILDS.map((build) => [build.name, build] as const))("%s is pinned with checksums", (_name, build) => {
    const lock = JSON.parse(readFileSync(join(NPM_MODULES, build.module, "package-lock.json"), "utf8")) as {
      packages: Record<string, { integrity?: string; resolved?: string }>;
    };
    const { "": _root, ...packages } = lock.packages;
    const loose = Object.entries(packages).filter(([, { integrity, resolved }]) => !integrity || resolved);
    expect(loose).toEqual([]);
    for (const entry of Object.values(build.programs)) {
      expect(packages).toHaveProperty([`node_modules/${entry.split("/")[0]}`]);
    }
    expect(npmPinHash({ ...build, unused: [] })).not.toBe(npmPinHash(build));
  });
});

describe("the hash of a build's pins", () => {
  const build = { name: "p", module: "images", programs: { probe: "./probe" }, seconds: 1 };

  it("stays when only the estimate changes", () => {
    expect(pinHash({ ...build, seconds: 2 })).toBe(pinHash(build));
  });

  it("changes with what is built and how", () => {
    const others = [
      { ...build, programs: { pause: "./pause" } },
      { ...build, tags: "x" },
      { ...build, linkerVariables: { a: "b" } },
    ];
    expect(new Set([build, ...others].map(pinHash)).size).toBe(4);
  });

  it("goes with arguments that set the linker's variables", () => {
    expect(buildArguments({ ...build, linkerVariables: { "a.b": "v1" } })).toContain("-ldflags=-s -w -X a.b=v1");
  });
});
