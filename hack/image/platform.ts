/** What a platform of the image is called by the tools that it is made with. */
export interface ImagePlatform {
  /** As in OCI image indexes. */
  readonly architecture: "amd64" | "arm64";
  /** As in Debian packages and `process.arch`. */
  readonly debian: string;
  readonly node: "x64" | "arm64";
  /** Prefix of the GNU tools. */
  readonly gnu: string;
  /** The Debian package with them. */
  readonly binutils: string;
  /** e_machine in the words of `readelf -h`. */
  readonly machine: string;
}

export const PLATFORMS: readonly ImagePlatform[] = [
  {
    architecture: "amd64",
    debian: "amd64",
    node: "x64",
    gnu: "x86_64-linux-gnu",
    binutils: "binutils-x86-64-linux-gnu",
    machine: "Advanced Micro Devices X86-64",
  },
  {
    architecture: "arm64",
    debian: "arm64",
    node: "arm64",
    gnu: "aarch64-linux-gnu",
    binutils: "binutils-aarch64-linux-gnu",
    machine: "AArch64",
  },
];

/** The platform of this machine. @throws Error on one that the image is not made for */
export function hostPlatform(): ImagePlatform {
  const found = PLATFORMS.find(({ node }) => node === process.arch);
  if (!found)
    throw new Error(`the image is made for ${PLATFORMS.map(({ node }) => node).join(" and ")}, not ${process.arch}`);
  return found;
}
