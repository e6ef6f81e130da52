import { parseImageReference } from "@cache-registry/core/image-reference";
import { parseBasicAuthorization } from "@cache-registry/registry-client/credentials/identity";
import { beforeEach, describe, expect, it } from "vitest";
import { createLentCredentials, type LentCredentials } from "./lent-credentials.ts";

const HOUR = 3_600_000;
const robot = { username: "robot", password: "hunter2" };
const other = { username: "other", password: "x" };
let clock = 0;
let lent: LentCredentials;

function image(text: string) {
  const reference = parseImageReference(text);
  if (reference === undefined) throw new Error(text);
  return reference;
}
const users = (registry = "harbor.local", repository = "team/app") =>
  lent.authorizationsFor(registry, repository).map((header) => parseBasicAuthorization(header)?.username);

beforeEach(() => {
  clock = 0;
  lent = createLentCredentials({ now: () => clock });
});

describe("lent credentials", () => {
  it("are for all of their repository and nothing else", () => {
    expect(lent.lend({ image: image("harbor.local/team/app:1"), owner: "a", credentials: [robot] })).toBe(true);
    expect(users()).toEqual(["robot"]);
    expect(users("harbor.local", "team/app2")).toEqual([]);
    expect(users("harbor.local", "team")).toEqual([]);
    expect(users("other.local", "team/app")).toEqual([]);
  });

  it("end when nobody repeats them", () => {
    const loan = { image: image("harbor.local/team/app:1"), owner: "a", credentials: [robot] };
    lent.lend(loan);
    clock += HOUR / 4;
    expect(lent.lend(loan)).toBe(false);
    clock += HOUR / 2 - 1;
    expect(users()).toEqual(["robot"]);
    clock += 1;
    expect(users()).toEqual([]);
  });

  it("are replaced by what the same owner lends next, and kept for other owners and tags", () => {
    const app = image("harbor.local/team/app:1");
    lent.lend({ image: app, owner: "a", credentials: [robot] });
    lent.lend({ image: app, owner: "b", credentials: [robot] });
    expect(users()).toEqual(["robot"]);
    expect(lent.lend({ image: app, owner: "a", credentials: [other] })).toBe(true);
    expect(new Set(users())).toEqual(new Set(["other", "robot"]));
    lent.giveBack(app, "b");
    expect(users()).toEqual(["other"]);
    expect(lent.lend({ image: app, owner: "a", credentials: [] })).toBe(true);
    expect(users()).toEqual([]);
    expect(lent.lend({ image: app, owner: "a", credentials: [] })).toBe(false);
  });

  it("that were refused come last, also when they are repeated", () => {
    const loan = { image: image("harbor.local/team/app:1"), owner: "a", credentials: [robot, other] };
    lent.lend(loan);
    const [first = ""] = lent.authorizationsFor("harbor.local", "team/app");
    lent.refused("harbor.local", "team/app", first);
    expect(users()).toEqual(["other", "robot"]);
    expect(lent.lend(loan)).toBe(false);
    expect(users()).toEqual(["other", "robot"]);
  });
});
