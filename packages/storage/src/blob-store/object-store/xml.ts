import { StoreProtocolError } from "./errors.ts";

/*
 * The few documents that the servers send us are flat lists of small elements without attributes, mixed content or
 * comments that matter. What does not look like that is refused as a whole.
 */

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name] ?? whole;
      return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
    },
  );
}

/** Content of each `<name>…</name>`, as it stands. Elements of that name are never nested in these documents. */
export function elementsOf(document: string, name: string): string[] {
  return [...document.matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, "g"))].map(([, content = ""]) => content);
}

/** Text of the first `<name>`. */
export function textOf(document: string, name: string): string | undefined {
  const [content] = elementsOf(document, name);
  return content === undefined ? undefined : decode(content);
}

/** The inside of a document's root. @throws StoreProtocolError when it is another document, or only the beginning of one */
export function rootOf(document: string, name: string): string {
  const match = new RegExp(`^(?:\\s*<\\?xml[^>]*\\?>)?\\s*<${name}(?:\\s[^>]*)?>([\\s\\S]*)</${name}>\\s*$`).exec(
    document,
  );
  if (!match) throw new StoreProtocolError(`the object store did not send a whole ${name}`);
  return match[1] ?? "";
}
