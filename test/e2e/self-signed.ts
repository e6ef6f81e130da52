import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** A certificate that is its own CA, as a user without cert-manager would make one. PEM texts. */
export async function selfSigned(name: string): Promise<{ certificate: string; key: string }> {
  const folder = await mkdtemp(join(tmpdir(), "cache-registry-tls-"));
  const [key, certificate] = [join(folder, "tls.key"), join(folder, "tls.crt")];
  const subject = ["-subj", `/CN=${name.slice(0, 60)}`, "-addext", `subjectAltName=DNS:${name}`];
  try {
    await promisify(execFile)("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"],
      ...["-keyout", key, "-out", certificate, ...subject],
    ]);
    return { certificate: await readFile(certificate, "utf8"), key: await readFile(key, "utf8") };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
