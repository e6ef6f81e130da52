import { expect } from "vitest";
import { refusal } from "./helm.ts";

export type Values = Record<string, unknown>;
/** What is wrong, the values, and words of the sentence that tells what to change. */
export type Guard = readonly [what: string, values: Values, words: readonly string[]];

/** In every test of a guard that is about secrets: what no message may repeat. */
export const SECRET = "correct-horse";

export function registry(values: Values): Values {
  return { registry: values };
}

export async function expectRefusal(values: Values, words: readonly string[]): Promise<void> {
  const message = await refusal({ values });
  for (const word of words) expect(message).toContain(word);
  expect(message).not.toContain(SECRET);
}
