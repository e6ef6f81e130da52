import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { RegistryConfig } from "../../packages/registry/src/config.ts";
import { documents, readDocument } from "../support/documents.ts";
import { CERT_MANAGER, CHART, helm } from "./helm.ts";

type Block = { readonly place: string; readonly text: string };

const blocks: readonly Block[] = documents("README.md", "docs/*.md").flatMap((document) =>
  [...readDocument(document).matchAll(/^ *```yaml\n([\s\S]*?)^ *```$/gm)].map(({ 1: text = "", index }) => ({
    place: `${document}:${readDocument(document).slice(0, index).split("\n").length}`,
    text,
  })),
);

/** Of the registry's own file; a block that is indented continues `storage.blobs` of the one before. */
function asConfiguration(text: string): string | undefined {
  const parsed: unknown = parse(text);
  const { error } = RegistryConfig.safeParse(/^ +driver:/.test(text) ? { storage: { blobs: parsed } } : parsed);
  return error?.message;
}

async function asValues(text: string): Promise<string | undefined> {
  const values: unknown = parse(text.replaceAll("{ … }", "{ existingSecret: example }"));
  const args = ["template", "release", CHART, "--api-versions", CERT_MANAGER, "--values", "-"];
  const { status, errors } = await helm(args, stringify(values));
  return status === 0 ? undefined : errors;
}

describe("YAML in our documents", () => {
  it.each(blocks)("$place is accepted by the chart or by the registry", async ({ text }) => {
    const refusals = [asConfiguration(text), await asValues(text)];
    expect(refusals, refusals.join("\n")).toContain(undefined);
  });

  it("is there", () => {
    expect(blocks.length).toBeGreaterThan(12);
  });
});
