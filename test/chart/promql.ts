import { spawnSync } from "node:child_process";
import { ensureTools } from "../../hack/tools/ensure.ts";

/** The metrics that each expression selects, read by Prometheus' own parser. @throws Error naming one that does not parse */
export async function metricsIn(expressions: readonly string[]): Promise<string[][]> {
  const { promql = "" } = await ensureTools(["promql"], { log: (line) => console.error(line) });
  const { stdout, stderr, status } = spawnSync(promql, { input: JSON.stringify(expressions), encoding: "utf8" });
  if (status !== 0) throw new Error(`promql: ${stderr}`);
  const answers = JSON.parse(stdout) as { metrics: string[]; error?: string }[];
  return answers.map(({ metrics, error }, index) => {
    if (error) throw new Error(`${expressions[index]}: ${error}`);
    return metrics;
  });
}
