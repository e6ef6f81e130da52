import { expect, it } from "vitest";
import { stringify } from "yaml";
import { CHART, helm } from "./helm.ts";

async function notes(values: object = {}): Promise<string> {
  const args = ["install", "r", CHART, "--namespace", "n", "--dry-run=client", "--values", "-"];
  const { output, errors } = await helm(args, stringify({ certificates: { mode: "selfManaged" }, ...values }));
  expect(errors).toBe("");
  return output.slice(output.indexOf("NOTES:"));
}

it("the notes name the test that pulls through, unless there is none", async () => {
  expect(await notes()).toContain("\n  helm test r --namespace n --logs\n");
  expect(await notes({ test: { enabled: false } })).not.toContain("helm test");
});

it("the notes say where the command that finishes an uninstallation is: nowhere else would npx find it", async () => {
  expect(await notes()).toMatch(/in a checkout of the source, after npm ci[\s\S]*\n {2}npx cache-registry restore /);
});

it("the notes warn of a deprecated value, and only then", async () => {
  const warning = "registry.persistance is an old spelling; please write registry.persistence.";
  expect(await notes({ registry: { persistance: { enabled: true } } })).toContain(warning);
  expect(await notes()).not.toContain("old spelling");
});

it("the notes say what stays after an uninstallation, and why", async () => {
  expect(await notes()).toContain("because\nrunning pods still name localhost:7439");
  const mirror = await notes({ mode: "mirror" });
  expect(mirror).toContain("the proxy on each node stays, because containerd's hosts.toml files lead to it");
  expect(mirror).not.toContain("running pods");
  const without = await notes({ mode: "mirror", proxy: { enabled: false } });
  expect(without).not.toMatch(/on each node|localhost:7439 because/);
  for (const text of [mirror, without]) expect(text).toMatch(/^ {2}npx cache-registry restore --release r /m);
});

it.each([
  ["4m", "10m"],
  ["30m", "36m"],
])("the notes give Helm more time than evicting pods may take, %s", async (timeout, forHelm) => {
  expect(await notes({ uninstall: { evictPods: true, timeout } })).toContain(`--namespace n --timeout ${forHelm}"`);
});
