import { readFile, writeFile } from "node:fs/promises";
import type { KeyPair, Pki } from "./pki.ts";

export interface KubeconfigOptions {
  readonly file: string;
  readonly server: string;
  readonly pki: Pki;
  readonly client: KeyPair;
}

/** Writes a kubeconfig with everything embedded, readable by its owner only. */
export async function writeKubeconfig({ file, server, pki, client }: KubeconfigOptions): Promise<string> {
  const base64 = async (path: string) => (await readFile(path)).toString("base64");
  const document = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server, "certificate-authority-data": await base64(pki.ca.certFile) } }],
    users: [
      {
        name: "user",
        user: {
          "client-certificate-data": await base64(client.certFile),
          "client-key-data": await base64(client.keyFile),
        },
      },
    ],
    contexts: [{ name: "test", context: { cluster: "test", user: "user" } }],
    "current-context": "test",
  };
  // JSON is YAML.
  await writeFile(file, `${JSON.stringify(document, null, 2)}\n`, { mode: 0o600 });
  return file;
}
