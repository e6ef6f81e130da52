/** One line on stderr that is written over on a terminal, and now and then a new one elsewhere. */
export type ProgressLine = { show(text: string): void; end(): void };

/** Where no terminal is: milliseconds between two lines. */
const QUIET_MS = 10_000;

export function createProgressLine(stream: NodeJS.WriteStream = process.stderr): ProgressLine {
  let lastAt = 0;
  let width = 0;
  return {
    show(text) {
      if (stream.isTTY) {
        stream.write(`\r${text.padEnd(width)}`);
        width = text.length;
        return;
      }
      if (performance.now() - lastAt < QUIET_MS && lastAt > 0) return;
      lastAt = performance.now();
      stream.write(`${text}\n`);
    },
    end() {
      if (stream.isTTY && width > 0) stream.write("\n");
      width = 0;
    },
  };
}
