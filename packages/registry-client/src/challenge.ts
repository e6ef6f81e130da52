/** One challenge of a WWW-Authenticate header. RFC 9110 §11.6.1. */
export type Challenge = {
  /** Lower-case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
};

/** Longer than any honest header; what is cut off is lost. */
const MAX_LENGTH = 8 * 1024;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/y;

type Scanner = {
  take(pattern: RegExp): string | undefined;
  skip(characters: RegExp): void;
  readonly done: boolean;
};

function createScanner(text: string): Scanner {
  let position = 0;
  function take(pattern: RegExp): string | undefined {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (!match) return undefined;
    position = pattern.lastIndex;
    return match[1] ?? match[0];
  }
  return {
    take,
    skip: (characters) => void take(characters),
    get done() {
      return position >= text.length;
    },
  };
}

const SPACE = /\s*/y;
const COMMAS = /[\s,]*/y;
const EQUALS = /\s*=\s*/y;

function takeValue(scanner: Scanner): string | undefined {
  const quoted = scanner.take(QUOTED);
  return quoted === undefined ? scanner.take(TOKEN) : quoted.replace(/\\(.)/g, "$1");
}

/** All challenges in order; scanning stops at the first thing that makes no sense. Several headers are joined with commas. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const text = (typeof header === "string" ? header : (header ?? []).join(", ")).slice(0, MAX_LENGTH);
  const scanner = createScanner(text);
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  scanner.skip(COMMAS);
  while (!scanner.done) {
    const word = scanner.take(TOKEN);
    if (word === undefined) break;
    const current = challenges.at(-1);
    if (current && scanner.take(EQUALS) !== undefined) {
      const value = takeValue(scanner);
      if (value === undefined) break;
      // The first of repeated parameters counts; a null prototype keeps names such as __proto__ harmless.
      current.parameters[word.toLowerCase()] ??= value;
    } else {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) as Record<string, string> });
      scanner.skip(SPACE);
      // A challenge may carry one bare token instead of parameters (Negotiate does); no scheme of ours has one.
      scanner.skip(TOKEN68);
    }
    scanner.skip(COMMAS);
  }
  return challenges;
}
