import type { X509Certificate } from "node:crypto";
import { dnsNamesOf, isSignedBy, type ReadPair } from "./pem.ts";

/** Milliseconds. */
export type Lifetimes = { readonly duration: number; readonly renewBefore: number; readonly caDuration: number };

/** Certificates begin a little in the past, for machines whose clocks are behind. */
const BACKDATE = 5 * 60_000;
/** Kubelets take a minute or two to bring a new ca.crt to those who have it mounted. */
const MAX_SETTLE = 5 * 60_000;
const MAX_PREVIOUS = 4;
const MAX_WAIT = 3_600_000;
const MIN_WAIT = 500;

export function validity(
  now: Date,
  lifetime: number,
  end = Number.POSITIVE_INFINITY,
): { notBefore: Date; notAfter: Date } {
  const time = now.getTime();
  return { notBefore: new Date(time - BACKDATE), notAfter: new Date(Math.min(time + lifetime, end)) };
}

export function createdAt(certificate: X509Certificate): number {
  return certificate.validFromDate.getTime() + BACKDATE;
}

/** How long a new authority is published before something is signed by it, so that whoever checks knows it first. */
export function settleTime({ renewBefore }: Lifetimes): number {
  return Math.min(MAX_SETTLE, renewBefore / 4);
}

/** Why the authority must be replaced, if so. What it signs must not outlive it. */
export function whyNewAuthority(
  pair: ReadPair | { problem: string },
  lifetimes: Lifetimes,
  now: Date,
): string | undefined {
  if ("problem" in pair) return pair.problem;
  if (!pair.leaf.ca) return "no certificate authority";
  if (isEarly(pair.leaf, now)) return "not valid yet";
  return endOf(pair.leaf) - now.getTime() < lifetimes.duration ? "ends soon" : undefined;
}

/**
 * Whom clients shall trust: the authority that signs, and those before it while something that they signed may still be
 * served. That is known without asking any server: it was signed before the present authority was made, so it has
 * expired one `duration` later.
 */
export function trustedAuthorities(
  signing: X509Certificate,
  known: readonly X509Certificate[],
  { duration }: Lifetimes,
  now: Date,
): X509Certificate[] {
  if (createdAt(signing) + duration <= now.getTime()) return [signing];
  const previous = new Map<string, X509Certificate>();
  for (const certificate of known) {
    const current = endOf(certificate) > now.getTime();
    if (current && certificate.fingerprint256 !== signing.fingerprint256)
      previous.set(certificate.fingerprint256, certificate);
  }
  const newestFirst = [...previous.values()].toSorted((a, b) => createdAt(b) - createdAt(a));
  return [signing, ...newestFirst.slice(0, MAX_PREVIOUS)];
}

export type ServingNeed = {
  /** What is in the Secret now. */
  readonly pair: ReadPair | { problem: string };
  readonly dnsNames: readonly string[];
  /** The signing one first. */
  readonly trusted: readonly X509Certificate[];
  readonly lifetimes: Lifetimes;
  readonly now: Date;
};

/** `urgent`: nobody can use what is there, so that nothing is won by waiting. */
export type Renewal = { readonly reason: string; readonly urgent: boolean };

/** Why a serving certificate must be replaced, if so. */
export function whyNewServing({ pair, dnsNames, trusted, lifetimes, now }: ServingNeed): Renewal | undefined {
  if ("problem" in pair) return { reason: pair.problem, urgent: true };
  const { leaf } = pair;
  const left = endOf(leaf) - now.getTime();
  if (left <= 0) return { reason: "expired", urgent: true };
  if (isEarly(leaf, now)) return { reason: "not valid yet", urgent: true };
  const signer = trusted.findIndex((authority) => isSignedBy(leaf, authority));
  if (signer < 0) return { reason: "signed by an authority that is not trusted", urgent: true };
  const names = dnsNames.toSorted((a, b) => a.localeCompare(b));
  if (dnsNamesOf(leaf).join() !== names.join()) return { reason: "names changed", urgent: true };
  if (left < lifetimes.renewBefore) return { reason: "ends soon", urgent: false };
  return signer === 0 ? undefined : { reason: "authority replaced", urgent: false };
}

/** Milliseconds until something is due. */
export function nextLook(dueTimes: readonly number[], now: Date): number {
  return Math.min(MAX_WAIT, Math.max(MIN_WAIT, Math.min(...dueTimes) - now.getTime()));
}

export function renewalTime(leaf: X509Certificate, { renewBefore }: Lifetimes): number {
  return endOf(leaf) - renewBefore;
}

/** When the authority is replaced, or the ones before it are forgotten. */
export function authorityTimes(
  signing: X509Certificate,
  trusted: readonly X509Certificate[],
  lifetimes: Lifetimes,
): number[] {
  const replaced = endOf(signing) - lifetimes.duration;
  return trusted.length > 1 ? [replaced, createdAt(signing) + lifetimes.duration] : [replaced];
}

/** Made by a leader whose clock was ahead by more than certificates are backdated: until then nobody would accept it. */
function isEarly(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate.getTime() > now.getTime();
}

function endOf(certificate: X509Certificate): number {
  return certificate.validToDate.getTime();
}
