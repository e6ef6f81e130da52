import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { describe, expect, it } from "vitest";
import { CHART, render } from "./helm.ts";
import { COMPONENTS, type Manifest, type Service } from "./manifests.ts";
import { metricsIn } from "./promql.ts";

const REPOSITORY = join(CHART, "../..");
const ALL = {
  monitoring: {
    serviceMonitor: { enabled: true, labels: { release: "prometheus" }, interval: "15s", scrapeTimeout: "5s" },
    podMonitor: { enabled: true, metricRelabelings: [{ action: "labeldrop", regex: "le" }] },
    prometheusRule: { enabled: true, alertLabels: { team: "platform" } },
    dashboard: { enabled: true, annotations: { grafana_folder: "x" }, grafanaOperator: { enabled: true } },
  },
};

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
interface PrometheusRule extends Manifest {
  readonly spec: { readonly groups: readonly [{ readonly rules: readonly Alert[] }] };
}
interface Monitor extends Manifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly endpoints?: readonly { port: string }[];
    readonly podMetricsEndpoints?: readonly { port?: string; relabelings?: readonly unknown[] }[];
  };
}
interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
}

async function alerts(values: object = ALL): Promise<readonly Alert[]> {
  return (await render({ values: { ...values } })).only<PrometheusRule>("PrometheusRule").spec.groups[0].rules;
}

/** Names that the sources register, with the suffixes of a histogram. */
async function registeredMetrics(): Promise<Set<string>> {
  const sources = globSync("packages/*/src/**/*.ts", { cwd: REPOSITORY }).filter((file) => !file.endsWith(".test.ts"));
  const names = sources.flatMap((file) => {
    const text = readFileSync(join(REPOSITORY, file), "utf8");
    const registered = [...text.matchAll(/(?:counter|gauge|histogram)(?:<[^(]*>)?\(\{\s*name: "([a-z_]+)"/g)];
    const ofDisk = [...text.matchAll(/ofDisk\(\s*"([a-z_]+)"/g)];
    return [...registered, ...ofDisk].map(([, name]) => `cache_registry_${name}`);
  });
  const own = createMetrics().registry.getMetricsAsArray();
  return new Set(
    [...names, ...own.map(({ name }) => name)].flatMap((name) => [
      name,
      `${name}_bucket`,
      `${name}_count`,
      `${name}_sum`,
    ]),
  );
}

describe("monitoring", () => {
  it("is off by default", async () => {
    const manifests = await render();
    const kinds = ["ServiceMonitor", "PodMonitor", "PrometheusRule", "GrafanaDashboard"];
    expect(manifests.all.filter(({ kind }) => kinds.includes(kind))).toEqual([]);
    expect(manifests.ofKind("ConfigMap").map(({ metadata }) => metadata.name)).not.toContain(
      "cache-registry-dashboard",
    );
  });

  it("by ServiceMonitor finds each component's management port, once", async () => {
    const manifests = await render({ values: ALL });
    const monitor = manifests.only<Monitor>("ServiceMonitor");
    expect(monitor.metadata.labels.release).toBe("prometheus");
    const wanted = Object.entries(monitor.spec.selector.matchLabels);
    const selected = manifests
      .ofKind<Service>("Service")
      .filter(({ metadata }) => wanted.every(([key, value]) => metadata.labels[key] === value));
    const found = selected.map(({ metadata, spec }) => [metadata.labels["app.kubernetes.io/component"], spec.ports]);
    const port = (number: number) => [{ name: "metrics", port: number, targetPort: number, protocol: "TCP" }];
    expect(Object.fromEntries(found)).toEqual({
      registry: port(8081),
      webhook: port(8082),
      controllers: port(8083),
      proxy: port(8084),
    });
    for (const service of selected) {
      const component = service.metadata.labels["app.kubernetes.io/component"];
      const pods = manifests.workloads().filter(({ spec }) => {
        const labels = spec.template.metadata.labels;
        return Object.entries(service.spec.selector).every(([key, value]) => labels[key] === value);
      });
      expect(pods.map(({ metadata }) => metadata.name)).toEqual([`cache-registry-${component}`]);
    }
  });

  it("by PodMonitor finds each component's pods, by a port that they declare or the pod's address", async () => {
    const manifests = await render({ values: ALL });
    const monitors = manifests.ofKind<Monitor>("PodMonitor");
    expect(monitors).toHaveLength(COMPONENTS.length);
    for (const { spec } of monitors) {
      const component = COMPONENTS.find((one) => one === spec.selector.matchLabels["app.kubernetes.io/component"]);
      if (!component) throw new Error("a PodMonitor selects no component");
      const named = (spec.podMetricsEndpoints ?? []).flatMap(({ port }) => port ?? []);
      const declared = (manifests.container(component).ports ?? []).map(({ name }) => name);
      expect(named).toEqual(component === "proxy" ? [] : ["management"]);
      expect(declared).toEqual(expect.arrayContaining(named));
    }
  });
});

describe("alerts", () => {
  it("and panels select only metrics that the processes have", async () => {
    const known = await registeredMetrics();
    const dashboard = JSON.parse(readFileSync(join(CHART, "files/dashboard.json"), "utf8")) as Dashboard;
    const queries = dashboard.panels
      .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
      // Grafana's variables, as it would fill them in
      .map((expr) => expr.replaceAll("$__rate_interval", "5m"));
    const expressions = [...(await alerts()).map(({ expr }) => expr), ...queries];
    expect(queries.length).toBeGreaterThan(20);
    const selected = (await metricsIn(expressions)).map((names, index) => ({ names, of: expressions[index] }));
    expect(selected.filter(({ names }) => names.length === 0)).toEqual([]);
    const unknown = selected.filter(({ names }) => names.some((name) => name !== "up" && !known.has(name)));
    expect(unknown).toEqual([]);
  });

  it("are told from others when they select a metric that nobody has, or do not parse", async () => {
    expect((await registeredMetrics()).has("cache_registry_disk_empty")).toBe(false);
    await expect(metricsIn(["rate(up)"])).rejects.toThrow("expected type range vector");
  });

  it("each say how bad it is, what happens and where to read on", async () => {
    for (const { alert, labels, annotations } of await alerts()) {
      expect(["warning", "critical"], alert).toContain(labels.severity);
      expect(labels.team).toBe("platform");
      expect(annotations).toMatchObject({ summary: expect.any(String), description: expect.any(String) });
      expect(annotations.runbook_url).toMatch(new RegExp(`/docs/alerts.md#${alert.toLowerCase()}$`));
    }
  });

  it("have a section each in docs/alerts.md, and it has no other", async () => {
    const text = readFileSync(join(REPOSITORY, "docs/alerts.md"), "utf8");
    const sections = [...text.matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
    expect(sections).toEqual((await alerts()).map(({ alert }) => alert));
  });

  it("look at this release only", async () => {
    const manifests = await render({ values: ALL, release: "other", namespace: "elsewhere" });
    for (const { expr } of manifests.only<PrometheusRule>("PrometheusRule").spec.groups[0].rules) {
      expect(expr.match(/namespace=~?"elsewhere",pod=~"other-cache-registry-/g)?.length).toBe(
        expr.match(/\{/g)?.length,
      );
    }
  });

  it("can be left out, and others added", async () => {
    const mine = { alert: "Mine", expr: "vector(1)" };
    const prometheusRule = { enabled: true, disabled: ["CacheRegistryDown"], additionalRules: [mine] };
    const names = (await alerts({ monitoring: { prometheusRule } })).map(({ alert }) => alert);
    expect(names).not.toContain("CacheRegistryDown");
    expect(names.at(-1)).toBe("Mine");
  });
});

describe("without a registry of its own", () => {
  it("a release watches what it has", async () => {
    const external = { managementUrl: "https://images.example.com:8081", tokenSecret: { name: "token" } };
    const registry = { enabled: false, externalUrl: "https://images.example.com", external };
    const manifests = await render({ values: { ...ALL, registry } });
    const expressions = manifests.only<PrometheusRule>("PrometheusRule").spec.groups[0].rules.map(({ expr }) => expr);
    expect(expressions.length).toBeGreaterThan(5);
    expect(expressions.filter((expr) => expr.includes("-registry-registry-"))).toEqual([]);
    expect(manifests.ofKind("PodMonitor").map(({ metadata }) => metadata.name)).not.toContain(
      "cache-registry-registry",
    );
    expect(manifests.ofKind("Service").map(({ metadata }) => metadata.name)).not.toContain(
      "cache-registry-registry-metrics",
    );
  });
});

describe("the dashboard", () => {
  it("reaches Grafana by its sidecar or its operator", async () => {
    const manifests = await render({ values: ALL });
    const map = manifests
      .ofKind<Manifest & { data: Record<string, string> }>("ConfigMap")
      .find(({ metadata }) => metadata.name === "cache-registry-dashboard");
    expect(map?.metadata.labels.grafana_dashboard).toBe("1");
    expect(map?.metadata.annotations).toEqual({ grafana_folder: "x" });
    const { panels } = JSON.parse(map?.data["cache-registry.json"] ?? "") as Dashboard;
    expect(panels.length).toBeGreaterThan(20);
    const operator = manifests.only<Manifest & { spec: object }>("GrafanaDashboard");
    expect(operator.spec).toEqual({
      instanceSelector: { matchLabels: { dashboards: "grafana" } },
      configMapRef: { name: "cache-registry-dashboard", key: "cache-registry.json" },
    });
  });
});
