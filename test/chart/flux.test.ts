import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { CHART, refusal, render } from "./helm.ts";
import { nonconformities } from "./kubeconform.ts";
import { Manifests } from "./manifests.ts";

const FOLDER = join(CHART, "../flux");

interface HelmRelease {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: Record<string, string> };
  readonly spec: {
    readonly chart: {
      readonly spec: {
        readonly chart: string;
        readonly version: string;
        readonly sourceRef: { kind: string; name: string };
      };
    };
    readonly values: Record<string, unknown>;
  };
}

let text: string;
let manifests: Manifests;

beforeAll(async () => {
  const { kubectl = "" } = await ensureTools(["kubectl"], { log: (line) => console.error(line) });
  text = execFileSync(kubectl, ["kustomize", FOLDER], { encoding: "utf8" });
  manifests = new Manifests(parseAllDocuments(text).map((document) => document.toJS()));
});

it("the Flux folder is one namespace, a repository and a release, which conform", async () => {
  expect(manifests.all.map(({ kind }) => kind).toSorted()).toEqual(["HelmRelease", "HelmRepository", "Namespace"]);
  // the release itself is looked at below: its definition cannot be had as a module
  expect(await nonconformities(text)).toEqual([]);
  const namespace = manifests.only("Namespace").metadata.name;
  for (const { metadata } of manifests.all) expect(metadata.namespace ?? metadata.name).toBe(namespace);
});

it("its release names this chart, this version and the repository beside it", () => {
  const { spec, apiVersion } = manifests.only<HelmRelease>("HelmRelease");
  const chart = parse(readFileSync(join(CHART, "Chart.yaml"), "utf8")) as { name: string; version: string };
  const sourceRef = { kind: "HelmRepository", name: manifests.only("HelmRepository").metadata.name };
  expect(apiVersion).toBe("helm.toolkit.fluxcd.io/v2");
  expect(spec.chart.spec).toEqual({ chart: chart.name, version: chart.version, sourceRef });
});

it("its values are values of the chart, whatever APIs the cluster has", async () => {
  const { values } = manifests.only<HelmRelease>("HelmRelease").spec;
  expect((await render({ values, apiVersions: [] })).workloads()).toHaveLength(4);
  expect(await refusal({ values: { ...values, regsitry: {} } })).toContain("'regsitry' not allowed");
});
