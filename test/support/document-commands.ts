import { readDocument } from "./documents.ts";

export interface Command {
  /** Document and line number: `docs/air-gap.md:8`. */
  readonly place: string;
  /** One line: continuations joined, without the comment behind it. */
  readonly text: string;
  /** The comment behind it, or empty. */
  readonly comment: string;
}

/** What a reader types: the lines of fenced blocks without a language, or of a shell. No diagrams, no logs. */
export function commandsOf(document: string): Command[] {
  const commands: Command[] = [];
  let fence: string | undefined;
  let pending: { place: string; text: string } | undefined;
  for (const [index, line] of readDocument(document).split("\n").entries()) {
    const [, language] = /^ *```(\w*)/.exec(line) ?? [];
    if (language !== undefined) {
      fence = fence === undefined ? language : undefined;
      continue;
    }
    if (fence !== "" && fence !== "sh") continue;
    const [, code = "", comment = ""] = /^\s*(.*?)(?:(?:^|\s+)# (.*))?$/.exec(line) ?? [];
    const text = pending ? `${pending.text} ${code}` : code;
    const place = pending?.place ?? `${document}:${index + 1}`;
    pending = text.endsWith("\\") ? { place, text: text.slice(0, -1).trim() } : undefined;
    if (!pending && /^[a-z][\w./-]*( |$)/.test(text) && !text.includes("─▶")) commands.push({ place, text, comment });
  }
  return commands;
}

/** The text of the first block of YAML. */
export function firstYamlOf(document: string): string {
  const [, indent = "", text = ""] = /^( *)```yaml\n([\s\S]*?)^ *```$/m.exec(readDocument(document)) ?? [];
  return text.replaceAll(new RegExp(`^${indent}`, "gm"), "");
}
