import { execFileSync } from "node:child_process";
import { join } from "node:path";

export type CertificateFiles = { readonly certFile: string; readonly keyFile: string };

/** For tests: a certificate for localhost and 127.0.0.1 that is its own authority. */
export function makeCertificate(folder: string, name: string): CertificateFiles {
  const certFile = join(folder, `${name}.crt`);
  const keyFile = join(folder, `${name}.key`);
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const names = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  execFileSync("openssl", [...kind, ...names, "-keyout", keyFile, "-out", certFile], { stdio: "ignore" });
  return { certFile, keyFile };
}
