import { createPrivateKey, X509Certificate } from "node:crypto";
import { messageOf } from "@cache-registry/core/errors";

/** PEM texts. */
export type PemPair = { readonly certificate: string; readonly key: string };

export type ReadPair = PemPair & { readonly leaf: X509Certificate };

/** A certificate with the key that belongs to it, or in words why it is none. Shows nothing of the key. */
export function readPair(certificate: string | undefined, key: string | undefined): ReadPair | { problem: string } {
  if (certificate === undefined || key === undefined) return { problem: "tls.crt or tls.key is missing" };
  try {
    const leaf = new X509Certificate(certificate);
    if (leaf.checkPrivateKey(createPrivateKey(key))) return { certificate, key, leaf };
    return { problem: "the key belongs to another certificate" };
  } catch (error) {
    return { problem: `unreadable: ${messageOf(error)}` };
  }
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificate authorities in a text of several PEM blocks; what is none is left out. */
export function readAuthorities(text: string): X509Certificate[] {
  return (text.match(BLOCK) ?? []).flatMap((block) => {
    try {
      const certificate = new X509Certificate(block);
      return certificate.ca ? [certificate] : [];
    } catch {
      return [];
    }
  });
}

export function printAuthorities(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join("");
}

/** The DNS names that clients may use, sorted. */
export function dnsNamesOf(certificate: X509Certificate): string[] {
  const names = (certificate.subjectAltName ?? "").split(", ").filter((name) => name.startsWith("DNS:"));
  return names.map((name) => name.slice("DNS:".length)).toSorted((a, b) => a.localeCompare(b));
}

export function isSignedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}
