/** Reads a values.yaml whose comments say what each value is; docs/adr/0028 has the notation. */
import { isMap, isScalar, LineCounter, type Pair, parse, parseDocument } from "yaml";

export interface Annotations {
  /** A type of value-types.ts, instead of the one that the default shows: `duration`, `list of text`, `auto or text`. */
  readonly type?: string;
  readonly enum?: readonly unknown[];
  /** JSON schema keywords, merged over the rest. */
  readonly schema?: Readonly<Record<string, unknown>>;
  /** Path of the value whose shape this one has. */
  readonly same?: string;
  readonly deprecated?: true;
}

export interface CommentedValue {
  /** Keys joined by dots. */
  readonly path: string;
  readonly fallback: unknown;
  readonly description: string;
  readonly annotations: Annotations;
  /** Described for an earlier component. */
  readonly inherited: boolean;
  /** The keys of a block mapping that has no type of its own. */
  readonly children?: readonly CommentedValue[];
}

type Comment = Pick<CommentedValue, "description" | "annotations">;
const ANNOTATION = /^@(type|enum|schema|same|deprecated)(?:\s+(.*))?$/;

/**
 * @param components top-level keys that take the same values: what the first says of one holds for all of them
 * @throws Error naming the line of an unknown annotation, or the path of a value without a description
 */
export function readCommentedValues(text: string, components: readonly string[] = []): CommentedValue[] {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, version: "1.1" });
  const [problem] = document.errors;
  if (problem) throw problem;
  if (!isMap(document.contents)) throw new Error("the values are no mapping");
  const lines = text.split("\n");
  const described = new Map<string, Comment>();
  const read = ({ key, value }: Pair, parent: string): CommentedValue => {
    if (!isScalar(key)) throw new Error(`a key under ${parent} is no text`);
    const path = parent === "" ? String(key.value) : `${parent}.${String(key.value)}`;
    const own = commentAbove(lines, counter.linePos(key.range?.[0] ?? 0).line);
    const [component = "", ...rest] = path.split(".");
    const shared = components.includes(component) ? rest.join(".") : "";
    const earlier = described.get(shared);
    const comment = own.description === "" && earlier ? merged(earlier, own) : own;
    if (comment.description === "") throw new Error(`${path}: say what it is in a comment above it, "# -- …"`);
    if (own.description !== "" && shared !== "" && !earlier) described.set(shared, own);
    const node = { path, ...comment, inherited: comment !== own, fallback: plain(value) };
    const leaf = comment.annotations.type ?? comment.annotations.same ?? comment.annotations.enum;
    if (leaf !== undefined || !isMap(value) || value.items.length === 0) return node;
    return { ...node, children: value.items.map((pair) => read(pair, path)) };
  };
  return document.contents.items.map((pair) => read(pair, ""));
}

function merged(earlier: Comment, own: Comment): Comment {
  return { ...earlier, annotations: { ...earlier.annotations, ...own.annotations } };
}

function plain(value: unknown): unknown {
  const node = value as { toJSON?: () => unknown } | null;
  return node?.toJSON?.() ?? null;
}

/** The comment directly above a line: from `# -- ` on its description, then its annotations. Indented lines are examples. */
function commentAbove(lines: readonly string[], line: number): Comment {
  const block: { text: string; line: number }[] = [];
  for (let above = line - 1; above > 0; above--) {
    const found = /^\s*#( ?.*)$/.exec(lines[above - 1] ?? "");
    if (!found) break;
    block.unshift({ text: (found[1] ?? "").replace(/^ /, ""), line: above });
  }
  const start = block.findIndex(({ text }) => text.startsWith("-- "));
  const description: string[] = [];
  let annotations: Annotations = {};
  for (const { text, line: at } of block.slice(Math.max(start, 0))) {
    if (text.startsWith("@")) annotations = { ...annotations, ...annotationOf(text, at) };
    else if (start >= 0 && !/^\s{2}/.test(text)) description.push(text.replace(/^-- /, "").trim());
  }
  return { description: description.join(" ").trim(), annotations };
}

function annotationOf(text: string, line: number): Annotations {
  const [, name, argument = ""] = ANNOTATION.exec(text) ?? [];
  if (name === "deprecated") return { deprecated: true };
  if (name === "type") return { type: argument.trim() };
  if (name === "same") return { same: argument.trim() };
  if (name === "enum") return { enum: parse(argument) as unknown[] };
  if (name === "schema") return { schema: parse(argument) as Record<string, unknown> };
  throw new Error(`line ${line}: ${text} is no annotation: @type, @enum, @schema, @same or @deprecated`);
}
