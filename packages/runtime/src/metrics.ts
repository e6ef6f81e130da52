import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from "prom-client";

const PREFIX = "cache_registry_";

/** Seconds: from a cache hit to a slow upstream. */
const DEFAULT_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export type MetricOptions<Label extends string> = {
  /** Without the prefix: `requests_total` becomes `cache_registry_requests_total`. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Label[];
};

export type GaugeOptions<Label extends string> = MetricOptions<Label> & {
  /** Called at each scrape to set the value. */
  readonly collect?: (gauge: Gauge<Label>) => void | Promise<void>;
};

export type HistogramOptions<Label extends string> = MetricOptions<Label> & { readonly buckets?: readonly number[] };

/** The metrics of one process. Asked twice for the same name and kind, it gives the same metric. */
export type Metrics = {
  counter<Label extends string = never>(options: MetricOptions<Label>): Counter<Label>;
  gauge<Label extends string = never>(options: GaugeOptions<Label>): Gauge<Label>;
  histogram<Label extends string = never>(options: HistogramOptions<Label>): Histogram<Label>;
  /** Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
  readonly registry: Registry;
};

/** `defaultMetrics`: those of Node.js itself (memory, event loop, garbage collection), under their usual names. */
export function createMetrics({ defaultMetrics = true }: { readonly defaultMetrics?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (defaultMetrics) collectDefaultMetrics({ register: registry });

  function reuse<Kind extends Metric>(name: string, kind: new (...args: never[]) => Kind): Kind | undefined {
    const existing: unknown = registry.getSingleMetric(name);
    if (existing === undefined) return undefined;
    if (existing instanceof kind) return existing;
    throw new Error(`metric ${name} is already registered as another kind`);
  }

  return {
    registry,
    contentType: registry.contentType,
    text: () => registry.metrics(),

    counter<Label extends string>({ name, help, labels = [] }: MetricOptions<Label>) {
      const configuration = { name: PREFIX + name, help, labelNames: [...labels], registers: [registry] };
      return reuse<Counter<Label>>(configuration.name, Counter) ?? new Counter<Label>(configuration);
    },

    gauge<Label extends string>({ name, help, labels = [], collect }: GaugeOptions<Label>) {
      const configuration = { name: PREFIX + name, help, labelNames: [...labels], registers: [registry] };
      const existing = reuse<Gauge<Label>>(configuration.name, Gauge);
      if (existing && collect) throw new Error(`metric ${configuration.name} is already collected elsewhere`);
      if (existing) return existing;
      if (!collect) return new Gauge<Label>(configuration);
      return new Gauge<Label>({
        ...configuration,
        collect() {
          return collect(this as unknown as Gauge<Label>);
        },
      });
    },

    histogram<Label extends string>({ name, help, labels = [], buckets = DEFAULT_BUCKETS }: HistogramOptions<Label>) {
      const configuration = {
        name: PREFIX + name,
        help,
        labelNames: [...labels],
        buckets: [...buckets],
        registers: [registry],
      };
      return reuse<Histogram<Label>>(configuration.name, Histogram) ?? new Histogram<Label>(configuration);
    },
  };
}
