import { describe, expect, it } from "vitest";
import { describeFailures, excerpt, textOf } from "./failures.ts";

describe("textOf", () => {
  it("says what, why and where", () => {
    const stack = [
      "Error: fetch failed",
      "    at fetch (node:internal/fetch:1:1)",
      "    at run (/repo/node_modules/x/index.js:1:1)",
      "    at pushBlob (/repo/test/support/registry-api.ts:54:11)",
      "    at test (/repo/test/integration/a.test.ts:9:5)",
    ].join("\n");
    const cause = { message: "connect ECONNREFUSED 127.0.0.1:11000", cause: { message: "deeper" } };
    expect(textOf({ message: "fetch failed", stack, cause }, "/repo").split("\n")).toEqual([
      "fetch failed",
      "caused by: connect ECONNREFUSED 127.0.0.1:11000",
      "caused by: deeper",
      "at pushBlob (test/support/registry-api.ts:54:11)",
    ]);
    expect(textOf({ message: "expected 1 to be 2", diff: "- 2\n+ 1" }, "/repo")).toBe("expected 1 to be 2\n- 2\n+ 1");
    expect(textOf({}, "/repo")).toBe("an error without a message");
  });

  it("does not follow causes that lead in a circle", () => {
    const circle: { message: string; cause?: unknown } = { message: "round" };
    circle.cause = circle;
    expect(textOf(circle, "/repo").split("\n")).toHaveLength(5);
  });
});

describe("excerpt", () => {
  it("keeps the beginning and the end, without colours, empty and endless lines", () => {
    const lines = Array.from({ length: 100 }, (_, line) => `line ${line}`);
    const kept = excerpt(`\u001b[31m${lines.join("\n\n")}\u001b[39m`);
    expect(kept).toHaveLength(17);
    expect([kept[0], kept[8], kept[16]]).toEqual(["line 0", "… 84 more lines", "line 99"]);
    expect(excerpt("x".repeat(10_000))[0]).toHaveLength(401);
    expect(excerpt("a\nb")).toEqual(["a", "b"]);
  });
});

describe("describeFailures", () => {
  it("names each with its error below", () => {
    const failures = [
      { where: "test/integration/a.test.ts", name: "the file or a hook of it", error: "not ready:\nlisten EADDRINUSE" },
      { where: "lint", error: "unused import" },
    ];
    expect(describeFailures(failures)).toBe(
      [
        "✗ test/integration/a.test.ts › the file or a hook of it",
        "    not ready:",
        "    listen EADDRINUSE",
        "✗ lint",
        "    unused import",
      ].join("\n"),
    );
  });
});
