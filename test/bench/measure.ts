/** One value of one peer, over all repetitions. */
export type Sample = { readonly peer: string; readonly values: readonly number[]; readonly median: number };

/** One row of the results: the same thing asked of every peer, in turns. */
export type Figure = {
  readonly name: string;
  /** `GB/s`, `requests/s`, `ms`, … */
  readonly unit: string;
  readonly better: "higher" | "lower";
  readonly samples: readonly Sample[];
  /** What the project wants, where it says so: our median against another peer's. */
  readonly goals: readonly Goal[];
  /** How it was measured, where that matters. */
  readonly note?: string;
};

/**
 * Against a peer: `higher`: ours / peer ≥ factor; `lower`: ours / peer ≤ factor, with `plus` allowed on top in the figure's
 * unit, or `orPlus` on top of the peer's own. Or a limit in the figure's unit.
 */
export type Goal =
  | { readonly peer: string; readonly factor: number; readonly plus?: number; readonly orPlus?: number }
  | { readonly limit: number };

export type Contender = {
  readonly peer: string;
  /** One repetition. `round` counts from 0; -1 is the warm-up, which is thrown away. */
  readonly run: (round: number) => Promise<number>;
};

export type Measuring = Omit<Figure, "samples"> & {
  readonly contenders: readonly Contender[];
  readonly repetitions: number;
  readonly warmUp?: boolean;
};

/** Every repetition asks each peer once, in an order that turns: what the machine does meanwhile hits all of them. */
export async function measure({ contenders, repetitions, warmUp = true, ...figure }: Measuring): Promise<Figure> {
  const values = new Map<string, number[]>(contenders.map(({ peer }) => [peer, []]));
  for (let round = warmUp ? -1 : 0; round < repetitions; round += 1) {
    const first = Math.max(0, round) % contenders.length;
    for (const { peer, run } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      const value = await run(round);
      if (round >= 0) values.get(peer)?.push(value);
    }
  }
  const samples = [...values].map(([peer, measured]) => ({ peer, values: measured, median: median(measured) }));
  return { ...figure, samples };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median of one peer. @throws Error when it was not measured */
export function medianOf({ name, samples }: Figure, peer: string): number {
  const sample = samples.find((each) => each.peer === peer);
  if (!sample) throw new Error(`${name} was not measured for ${peer}`);
  return sample.median;
}

export type Verdict = { readonly ratio: number; readonly goal: string; readonly met: boolean };

/** Undefined when the peer was not there to be measured. */
export function judge(figure: Figure, goal: Goal): Verdict | undefined {
  const ours = medianOf(figure, OURS);
  const { limit, text, base } = "limit" in goal ? ownLimit(figure, goal.limit) : limitOf(figure, goal);
  if (Number.isNaN(base)) return undefined;
  const sign = figure.better === "higher" ? "≥" : "≤";
  return {
    ratio: ours / base,
    goal: `${sign} ${text}`,
    met: figure.better === "higher" ? ours >= limit : ours <= limit,
  };
}

type Limit = { readonly limit: number; readonly text: string; readonly base: number };

function ownLimit({ unit }: Figure, limit: number): Limit {
  return { limit, text: `${limit.toLocaleString("en-US")} ${unit}`, base: limit };
}

function limitOf(figure: Figure, { peer, factor, plus = 0, orPlus }: Exclude<Goal, { limit: number }>): Limit {
  const theirs = figure.samples.find((sample) => sample.peer === peer)?.median ?? Number.NaN;
  const more = plus === 0 ? "" : ` + ${plus} ${figure.unit}`;
  const or = orPlus === undefined ? "" : ` or + ${orPlus} ${figure.unit}`;
  const limit = Math.max(factor * theirs + plus, orPlus === undefined ? 0 : theirs + orPlus);
  return { limit, text: `${factor} × ${peer}${more}${or}`, base: theirs };
}

/** Name of our registry among the peers. */
export const OURS = "cache-registry";
