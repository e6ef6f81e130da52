import { expect } from "vitest";
import type { RegistryApi } from "./registry-api.ts";
import type { Image } from "./test-content.ts";

/** The image comes whole and with every byte right, blob by blob. `reference`: its digest unless a tag is to be asked for. */
export async function expectPullable(
  api: Pick<RegistryApi, "get">,
  repository: string,
  { manifest, blobs }: Image,
  reference = manifest.digest,
): Promise<void> {
  expect(await api.get(`${repository}/manifests/${reference}`)).toEqual(manifest.bytes);
  for (const { digest, bytes } of blobs) {
    expect((await api.get(`${repository}/blobs/${digest}`)).equals(bytes)).toBe(true);
  }
}
