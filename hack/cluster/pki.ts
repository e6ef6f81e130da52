import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface KeyPair {
  readonly certFile: string;
  readonly keyFile: string;
}

/** X.509 subject of a client as Kubernetes reads it: CN is the user, O its groups. */
export interface Subject {
  readonly user: string;
  readonly group?: string;
}

export interface Pki {
  readonly ca: KeyPair;
  /** Signs and checks service account tokens; a bare key. */
  readonly serviceAccountKey: string;
  client(name: string, subject: Subject): Promise<KeyPair>;
  /** `names` are subject alternative names as openssl writes them: `DNS:…` or `IP:…`. */
  server(name: string, names: readonly string[]): Promise<KeyPair>;
}

// Only what -addext says goes into a certificate: the distribution's own configuration would add CA:TRUE to every one.
const CONFIGURATION = "[req]\ndistinguished_name = dn\n[dn]\n";
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365"];

/** A certificate authority for one cluster, made with the `openssl` program (3.0 or later) in `directory`. */
export async function createPki(directory: string): Promise<Pki> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const configFile = join(directory, "openssl.cnf");
  await writeFile(configFile, CONFIGURATION);
  const files = (name: string) => ({
    certFile: join(directory, `${name}.crt`),
    keyFile: join(directory, `${name}.key`),
  });

  async function issue(name: string, subject: string, options: readonly string[]): Promise<KeyPair> {
    const { certFile, keyFile } = files(name);
    const out = ["-keyout", keyFile, "-out", certFile];
    await run("openssl", ["req", "-x509", "-config", configFile, ...NEW_KEY, "-subj", subject, ...out, ...options]);
    return { certFile, keyFile };
  }

  const ca = await issue("ca", "/CN=cache-registry-test-ca", [
    ...["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    ...["-addext", "subjectKeyIdentifier=hash"],
  ]);
  const signed = ["-CA", ca.certFile, "-CAkey", ca.keyFile, "-addext", "basicConstraints=critical,CA:FALSE"];
  const serviceAccountKey = join(directory, "service-account.key");
  await run("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", serviceAccountKey]);

  return {
    ca,
    serviceAccountKey,
    client: (name, { user, group }) =>
      issue(name, `${group ? `/O=${group}` : ""}/CN=${user}`, [...signed, "-addext", "extendedKeyUsage=clientAuth"]),
    server: (name, names) =>
      issue(name, `/CN=${name}`, [
        ...signed,
        ...["-addext", "extendedKeyUsage=serverAuth", "-addext", `subjectAltName=${names.join(",")}`],
      ]),
  };
}
