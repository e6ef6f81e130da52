import { expect, it } from "vitest";
import { redactUrl } from "./redact.ts";

it("shows only parameters that hold no secret", () => {
  const url = "https://user:pw@s3.example.com/a?X-Amz-Signature=abc&service=registry&X-Amz-Signature=def&sig=x#frag";
  const shown = redactUrl(url);
  expect(shown).toBe("https://s3.example.com/a?X-Amz-Signature=redacted&service=registry&sig=redacted");
  expect(redactUrl("not a URL with pw")).toBe("[invalid URL]");
});
