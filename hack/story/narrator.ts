/** What the story prints: chapters, sentences and details, each with the seconds since the start. */
export interface Narrator {
  chapter(title: string): void;
  say(sentence: string): void;
  /** Progress of long work. */
  detail(line: string): void;
  /** Runs the task and says how long it took. */
  timed<Result>(what: string, task: () => Promise<Result>): Promise<Result>;
}

export function createNarrator(write: (text: string) => void = (text) => void process.stdout.write(text)): Narrator {
  const start = performance.now();
  const stamp = () => `${((performance.now() - start) / 1000).toFixed(1).padStart(7)} s`;
  const say = (sentence: string) => write(`${stamp()}  ${sentence}\n`);
  return {
    say,
    chapter: (title) => write(`\n${stamp()}  ▌ ${title}\n`),
    detail: (line) => write(`${stamp()}    · ${line}\n`),
    async timed(what, task) {
      const begun = performance.now();
      const result = await task();
      say(`${what}: ${((performance.now() - begun) / 1000).toFixed(2)} s`);
      return result;
    },
  };
}
