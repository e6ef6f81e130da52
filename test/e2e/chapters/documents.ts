import { expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { readmeCommand, typeReadme } from "../readme.ts";
import type { Scene } from "../scene.ts";

/** Installation and verification; the chapter "uninstall" types how to remove it. */
export function documents(scene: () => Scene): void {
  it("the README's command installs it, here over what there is", async () => {
    expect(await typeReadme(scene(), "helm upgrade --install")).toContain("STATUS: deployed");
  });

  it("its commands show what the comments beside them say", async () => {
    await scene().stage.publish({ repository: "library/busybox", tag: "latest" });
    await typeReadme(scene(), "kubectl run try-cache");
    await scene().running("try-cache");
    const image = "kubectl get pod try-cache";
    expect((await typeReadme(scene(), image)).trim()).toBe(readmeCommand(image).comment);

    const list = "kubectl get cachedimages";
    const [, column = "", value = ""] = /^([A-Z]+) (\w+):/.exec(readmeCommand(list).comment) ?? [];
    await eventually(async () => {
      const [header = "", ...rows] = (await typeReadme(scene(), list)).split("\n");
      const row = rows.find((line) => line.includes("busybox")) ?? "";
      expect(row.slice(header.indexOf(column)).split(" ")[0], header).toBe(value);
    }, 30_000);
    await scene().deletePod("try-cache");
  });
}
