import { describe, expect, it } from "vitest";
import { textLine } from "./log-line.ts";
import { createLogger } from "./logger.ts";

const TIME = "2030-01-02T03:04:05.000Z";

function line(fields: Record<string, unknown>): string {
  return textLine(`${JSON.stringify({ level: "info", time: TIME, component: "registry", ...fields })}\n`);
}

describe("a log line as text", () => {
  it("has time, level, component and message first, then the rest", () => {
    expect(line({ port: 5000, url: "http://x/y", msg: "listening", note: "two words" })).toBe(
      `${TIME} INFO  registry listening port=5000 url=http://x/y note="two words"\n`,
    );
  });

  it("shows an error's stack below it, and its causes", () => {
    const cause = { type: "Error", message: "refused" };
    const text = line({ msg: "no", err: { type: "Error", message: "a", stack: "Error: a\n    at b", cause } });
    expect(text).toBe(`${TIME} INFO  registry no\n  Error: a\n      at b\n  caused by:\n  Error: refused\n`);
  });

  it("is one line, whatever the message and values hold", () => {
    expect(line({ msg: "a\nb", value: "c\nd" })).toBe(`${TIME} INFO  registry a b value="c\\nd"\n`);
  });

  it("leaves what is no JSON as it is", () => {
    expect(textLine("plain\n")).toBe("plain\n");
  });

  it("is what a logger of that format writes, without secrets", () => {
    const lines: string[] = [];
    const destination = { write: (text: string) => void lines.push(text) };
    const logger = createLogger({ component: "proxy", format: "text", destination });
    logger.info({ password: "x", url: "http://user:secret@host/" }, "hello");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\S+ INFO {2}proxy hello password=\[redacted\] url=http:\/\/\S*@?host\/\n$/i);
    expect(lines[0]).not.toContain("secret");
  });
});
