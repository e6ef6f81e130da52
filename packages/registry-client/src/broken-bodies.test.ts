import { expect, it } from "vitest";
import { createBrokenBodies } from "./broken-bodies.ts";

const endpoints = ["https://a.example.com", "https://b.example.com/mirror"];
const content = { registry: "docker.io", repository: "library/nginx", resource: "blobs/x" };

it("puts who broke something off at the end, for that and for ten seconds only", () => {
  let now = 0;
  const broken = createBrokenBodies({ now: () => now });
  expect(broken.last(endpoints, content)).toBe(endpoints);
  broken.note(new URL("https://a.example.com"), content);
  expect(broken.last(endpoints, content)).toEqual(endpoints.toReversed());
  expect(broken.last(endpoints, { ...content, repository: "library/alpine" })).toBe(endpoints);
  broken.note(new URL("https://b.example.com/mirror"), content);
  expect(broken.last(endpoints, content)).toEqual(endpoints);
  now = 10_000;
  expect(broken.last(endpoints, content)).toBe(endpoints);
});
