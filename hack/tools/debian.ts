import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Debian package → a file it brings; the file is what counts, so other distributions pass too. */
const PROOF: Readonly<Record<string, readonly string[]>> = {
  "binutils-aarch64-linux-gnu": ["/usr/bin/aarch64-linux-gnu-strip"],
  "binutils-x86-64-linux-gnu": ["/usr/bin/x86_64-linux-gnu-strip"],
  buildah: ["/usr/bin/buildah"],
  conntrack: ["/usr/sbin/conntrack"],
  "docker.io": ["/usr/sbin/dockerd", "/usr/bin/dockerd"],
  gcc: ["/usr/bin/gcc", "/usr/bin/cc"],
  iproute2: ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"],
  iptables: ["/usr/sbin/iptables", "/sbin/iptables"],
  "libseccomp-dev": ["/usr/include/seccomp.h"],
  mount: ["/usr/bin/mount", "/bin/mount"],
  nftables: ["/usr/sbin/nft", "/sbin/nft"],
  openssl: ["/usr/bin/openssl"],
  "pkg-config": ["/usr/bin/pkg-config"],
  // The version in the path differs by distribution; test/support/postgres-server.ts looks for it.
  postgresql: ["/usr/lib/postgresql", "/usr/bin/initdb", "/usr/local/bin/initdb"],
  procps: ["/usr/sbin/sysctl", "/sbin/sysctl"],
  skopeo: ["/usr/bin/skopeo"],
  "util-linux": ["/usr/bin/nsenter"],
  tar: ["/usr/bin/tar", "/bin/tar"],
};

/** The packages whose files are not on this machine. */
export function missingDebianPackages(
  names: readonly string[],
  exists: (path: string) => boolean = existsSync,
): string[] {
  return names.filter((name) => {
    const proof = PROOF[name];
    if (!proof) throw new Error(`no file is known to tell whether ${name} is installed`);
    return !proof.some(exists);
  });
}

/**
 * Installs what is missing, as root and where there is apt-get.
 * @throws Error naming the packages where this process may not install them, or when apt-get failed
 */
export async function ensureDebianPackages(
  names: readonly string[],
  { log }: { log: (line: string) => void },
): Promise<void> {
  const missing = missingDebianPackages(names);
  if (!missing.length) return;
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    throw new Error(
      `these Debian packages are needed: ${missing.join(" ")} (as root: apt-get install ${missing.join(" ")})`,
    );
  }
  log(`installing the Debian packages ${missing.join(", ")}`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }, maxBuffer: 64 << 20 };
  await run("apt-get", ["update", "-qq"], options);
  await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing], options);
  const absent = missingDebianPackages(missing);
  if (absent.length) throw new Error(`apt-get installed ${absent.join(", ")}, but the expected files are not there`);
}
