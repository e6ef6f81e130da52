const outputs = new Map<string, () => string>();
const LINES = 12;

/** What the process that serves at a base URL writes, for the errors of those who call it. */
export function noteOutput(url: string, output: () => string): void {
  outputs.set(new URL(url).origin, output);
}

/** `; it wrote last:` and the end of the output of who serves there; nothing when that is not known. */
export function lastWords(url: string): string {
  const output = outputs.get(new URL(url).origin)?.().trimEnd();
  return output ? `; it wrote last:\n${output.split("\n").slice(-LINES).join("\n")}` : "";
}
