import { X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { type PemPair, readPair } from "./pem.ts";
import {
  authorityTimes,
  createdAt,
  nextLook,
  renewalTime,
  settleTime,
  trustedAuthorities,
  validity,
  whyNewAuthority,
  whyNewServing,
} from "./plan.ts";
import { createAuthority, issueServing } from "./sign.ts";

const DAY = 86_400_000;
const LIFETIMES = { duration: 90 * DAY, renewBefore: 30 * DAY, caDuration: 365 * DAY };
const START = new Date("2026-03-01T00:00:00Z");
const NAMES = ["b.default.svc", "a.default.svc"];

const after = (milliseconds: number): Date => new Date(START.getTime() + milliseconds);
const authorityAt = (time: Date): Promise<PemPair> => createAuthority(validity(time, LIFETIMES.caDuration));
const certificateOf = ({ certificate }: PemPair): X509Certificate => new X509Certificate(certificate);

let first: PemPair;
let second: PemPair;
let leaf: PemPair;

beforeAll(async () => {
  first = await authorityAt(START);
  second = await authorityAt(after(276 * DAY));
  leaf = await issueServing(first, { ...validity(START, LIFETIMES.duration), commonName: "a", dnsNames: NAMES });
});

describe("the authority", () => {
  const why = (now: Date, { certificate, key } = first) => whyNewAuthority(readPair(certificate, key), LIFETIMES, now);

  it("is replaced before what it signs could outlive it", () => {
    expect(why(START)).toBeUndefined();
    expect(why(after(274 * DAY))).toBeUndefined();
    expect(why(after(276 * DAY))).toBe("ends soon");
  });

  it("is replaced when it cannot be used", () => {
    expect(why(START, { ...first, key: second.key })).toBe("the key belongs to another certificate");
    expect(why(START, { ...first, certificate: "nothing" })).toMatch(/^unreadable/);
    expect(why(START, leaf)).toBe("no certificate authority");
    expect(whyNewAuthority(readPair(undefined, first.key), LIFETIMES, START)).toBe("tls.crt or tls.key is missing");
  });

  it("is replaced when whoever made it had a clock that was ahead: nobody could use it for as long", async () => {
    const early = await authorityAt(after(40 * DAY));
    expect(why(START, early)).toBe("not valid yet");
    expect(why(after(40 * DAY - 240_000), early)).toBeUndefined();
  });

  it("remembers when it was made, to the second", () => {
    expect(createdAt(certificateOf(first))).toBe(START.getTime());
  });
});

describe("who is trusted", () => {
  const trusted = (now: Date, known = [certificateOf(first)]) =>
    trustedAuthorities(certificateOf(second), known, LIFETIMES, now).map(({ subject }) => subject);
  const subjects = (...pairs: PemPair[]) => pairs.map((pair) => certificateOf(pair).subject);

  it("is the one before, too, until the last leaf that it can have signed has expired", () => {
    expect(trusted(after(276 * DAY))).toEqual(subjects(second, first));
    expect(trusted(after(364 * DAY))).toEqual(subjects(second, first));
    expect(trusted(after(366 * DAY))).toEqual(subjects(second));
  });

  it("is not one that is expired itself, and none twice", async () => {
    const old = await createAuthority(validity(after(100 * DAY), 177 * DAY));
    const known = [certificateOf(old), certificateOf(first), certificateOf(first), certificateOf(second)];
    expect(trusted(after(276 * DAY), known)).toEqual(subjects(second, old, first));
    expect(trusted(after(278 * DAY), known)).toEqual(subjects(second, first));
  });

  it("is bounded, the newest first", async () => {
    const many = await Promise.all([1, 2, 3, 4, 5, 6].map((day) => authorityAt(after(day * DAY))));
    const expected = subjects(second, ...many.slice(2).toReversed());
    expect(trusted(after(277 * DAY), many.map(certificateOf))).toEqual(expected);
  });
});

describe("a serving certificate", () => {
  const why = (now: Date, changes: { dnsNames?: string[]; trusted?: PemPair[]; pair?: PemPair } = {}) => {
    const { dnsNames = NAMES, trusted = [first], pair = leaf } = changes;
    return whyNewServing({
      pair: readPair(pair.certificate, pair.key),
      dnsNames,
      trusted: trusted.map(certificateOf),
      lifetimes: LIFETIMES,
      now,
    });
  };

  it("is left alone while it is good, whatever the order of its names", () => {
    expect(why(START)).toBeUndefined();
    expect(why(START, { dnsNames: NAMES.toReversed() })).toBeUndefined();
    expect(why(after(59 * DAY))).toBeUndefined();
  });

  it("is renewed in time, and at once when it is too late", () => {
    expect(why(after(61 * DAY))).toEqual({ reason: "ends soon", urgent: false });
    expect(why(after(91 * DAY))).toEqual({ reason: "expired", urgent: true });
  });

  it("is replaced at once when whoever made it had a clock that was ahead", () => {
    expect(why(after(-20 * DAY))).toEqual({ reason: "not valid yet", urgent: true });
    expect(why(after(-240_000))).toBeUndefined();
  });

  it("follows its authority without haste, since the one before is still trusted", () => {
    expect(why(START, { trusted: [second, first] })).toEqual({ reason: "authority replaced", urgent: false });
    expect(why(START, { trusted: [second] })).toMatchObject({ urgent: true });
  });

  it("is renewed at once when its names changed or it cannot be used", () => {
    expect(why(START, { dnsNames: ["a.default.svc"] })).toEqual({ reason: "names changed", urgent: true });
    expect(why(START, { pair: { ...leaf, key: first.key } })).toMatchObject({ urgent: true });
  });
});

describe("the next look", () => {
  it("is when the first thing is due, but within the hour and never at once", () => {
    const now = START;
    expect(nextLook([after(90_000).getTime(), after(60_000).getTime()], now)).toBe(60_000);
    expect(nextLook([after(DAY).getTime()], now)).toBe(3_600_000);
    expect(nextLook([after(-DAY).getTime()], now)).toBe(500);
  });

  it("is for the renewal of a leaf, the replacement of the authority, and the end of the one before", () => {
    expect(renewalTime(certificateOf(leaf), LIFETIMES)).toBe(after(60 * DAY).getTime());
    const signing = certificateOf(second);
    expect(authorityTimes(signing, [signing], LIFETIMES)).toEqual([after(551 * DAY).getTime()]);
    expect(authorityTimes(signing, [signing, certificateOf(first)], LIFETIMES)[1]).toBe(after(366 * DAY).getTime());
  });

  it("a new authority is published for some minutes before it signs, less where certificates are short", () => {
    expect(settleTime(LIFETIMES)).toBe(300_000);
    expect(settleTime({ ...LIFETIMES, renewBefore: 8_000 })).toBe(2_000);
  });
});
