import { expect, it } from "vitest";
import { parseDigest } from "./digest.ts";
import { assertDigest, createVerifier, digestOfBytes } from "./verify.ts";

// FIPS 180-4 examples: "abc" and the empty message.
const ABC_256 = parseDigest("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
const EMPTY_256 = parseDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
const ABC_512 = parseDigest(
  "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
);
const abc = Buffer.from("abc");

it("computes the published digests", () => {
  expect(digestOfBytes(abc)).toBe(ABC_256);
  expect(digestOfBytes(abc, "sha512")).toBe(ABC_512);
  expect(digestOfBytes(new Uint8Array())).toBe(EMPTY_256);
});

it("counts and hashes whatever the chunks", () => {
  const verifier = createVerifier("sha256");
  expect(verifier.size).toBe(0);
  for (const chunk of ["a", "", "bc"]) verifier.update(Buffer.from(chunk));
  expect(verifier.size).toBe(3);
  expect(verifier.digest()).toBe(ABC_256);
  expect(() => verifier.digest()).toThrow("Digest already called");
});

it("accepts matching bytes in the digest's own algorithm and refuses others", () => {
  expect(() => assertDigest(abc, ABC_256)).not.toThrow();
  expect(() => assertDigest(abc, ABC_512)).not.toThrow();
  expect(() => assertDigest(abc, EMPTY_256)).toThrow("content does not match its digest");
});
