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
