import { expect, it } from "vitest";
import {
  baseMediaType,
  isImageManifestType,
  isIndexType,
  isManifestType,
  isNonDistributable,
  isSchema1Type,
  MANIFEST_ACCEPT,
  MEDIA_TYPES,
} from "./media-type.ts";

it.each([
  ["Application/JSON; charset=utf-8", "application/json"],
  [" text/plain ;a=b;c=d", "text/plain"],
  ["", ""],
  [undefined, ""],
  [";", ""],
])("the base of %j is %j", (value, base) => {
  expect(baseMediaType(value)).toBe(base);
});

it("asks upstream for exactly what it can store", () => {
  expect(MANIFEST_ACCEPT.every(isManifestType)).toBe(true);
  const storable = Object.values(MEDIA_TYPES).filter(isManifestType);
  expect([...MANIFEST_ACCEPT].toSorted()).toEqual(storable.toSorted());
});

it("sorts every type into at most one kind", () => {
  for (const type of Object.values(MEDIA_TYPES)) {
    const kinds = [isIndexType, isImageManifestType, isSchema1Type, isNonDistributable].filter((is) => is(type));
    expect({ type, kinds: Math.min(kinds.length, 1) }).toEqual({ type, kinds: kinds.length });
  }
  expect(isIndexType(MEDIA_TYPES.dockerList)).toBe(true);
  expect(isImageManifestType(MEDIA_TYPES.dockerManifest)).toBe(true);
  expect(isSchema1Type(MEDIA_TYPES.dockerSchema1Signed)).toBe(true);
  expect(isNonDistributable("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")).toBe(true);
  expect(isNonDistributable(MEDIA_TYPES.ociLayerGzip)).toBe(false);
});
