/**
 * Every command in our documents is run: here, in a scene of real servers and clients, or by the test that is named. What is in
 * none of the tables fails, as does a row that no document needs any more.
 */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SKIP_REASONS } from "../../packages/webhook/src/eligibility/eligibility.ts";
import { type Command, commandsOf } from "../support/document-commands.ts";
import { type DocumentScene, openDocumentScene, type Place } from "../support/document-scene.ts";
import { documents, ROOT, readDocument } from "../support/documents.ts";
import { eventually } from "../support/eventually.ts";

interface Here {
  /** How the command begins. */
  readonly begins: string;
  readonly place: Place;
  /** In what it writes. */
  readonly says?: RegExp;
  readonly before?: () => Promise<unknown>;
  readonly after?: () => Promise<unknown>;
}

interface Elsewhere {
  readonly begins: string;
  /** Only there; default: in any document. */
  readonly document?: string;
  /** The file that runs it, with these words. */
  readonly test: string;
  readonly words: readonly string[];
}

let scene: DocumentScene;
const kubectl = (...args: readonly string[]) => scene.tool("kubectl", ...args);
const digestOf = (name: string) => scene.tool("crane", "digest", `${new URL(scene.outside.url).host}/${name}`);
const SYSTEM = ["--namespace", "cache-registry-system"];
const NGINX = "docker.io%2Flibrary%2Fnginx%3A1.27";

async function authorization() {
  const token = await readFile(join(scene.inside.directory, "token"), "utf8");
  return { authorization: `Bearer ${token}`, "content-type": "application/json" };
}

async function images(owner: string): Promise<unknown> {
  const headers = await authorization();
  return (await fetch(`${scene.inside.management}/api/v1/images?owner=${owner}`, { headers })).json();
}

/** What kube-image-keeper v1 leaves: its definitions, and an object that nobody finishes. */
async function leavePredecessor(): Promise<void> {
  const definitionOf = (plural: string, kind: string) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.kuik.enix.io` },
    spec: {
      group: "kuik.enix.io",
      scope: "Cluster",
      names: { plural, kind },
      versions: [{ name: "v1alpha1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    },
  });
  await scene.apply(definitionOf("cachedimages", "CachedImage"), definitionOf("repositories", "Repository"));
  const metadata = { name: "nginx", finalizers: ["kuik/finalizer"] };
  await eventually(() => scene.apply({ apiVersion: "kuik.enix.io/v1alpha1", kind: "CachedImage", metadata }));
}

/** In the order in which they are run. */
const HERE: readonly Here[] = [
  {
    begins: "crane push dist-image/layout <your registry>",
    place: "checkout",
    after: async () => expect(await digestOf("ours/cache-registry:dev")).toBe(scene.digest),
  },
  {
    begins: "skopeo copy --all oci-archive:dist-image/image.tar",
    place: "checkout",
    before: () => scene.tool("crane", "delete", `${new URL(scene.outside.url).host}/ours/cache-registry:dev`),
    after: async () => expect(await digestOf("ours/cache-registry:dev")).toBe(scene.digest),
  },
  {
    begins: "crane push dist-image/layout 127.0.0.1:5000/team/app:1",
    place: "checkout",
    after: async () => expect(await digestOf("team/app:1")).toBe(scene.digest),
  },
  { begins: "crane pull 127.0.0.1:5000/docker.io/library/nginx:1.27", place: "checkout" },
  { begins: "curl -X PUT", place: "checkout", says: /"digest":"sha256:/ },
  {
    begins: "npx cache-registry export --config registry.yaml --images",
    place: "outside",
    says: /nginx:1\.27\s+quay\.io/,
  },
  {
    begins: "npx cache-registry export --config registry.yaml --used",
    place: "outside",
    before: async () => {
      const wanted = { method: "PUT", headers: await authorization(), body: JSON.stringify({ owner: "a-cluster" }) };
      expect((await fetch(`${scene.outside.management}/api/v1/images/${NGINX}`, wanted)).ok).toBe(true);
    },
    says: /nginx:1\.27/,
  },
  {
    begins: "npx cache-registry import --config registry.yaml --input images.tar",
    place: "inside",
    says: /import:2026-11/,
  },
  {
    begins: "npx cache-registry import --config registry.yaml --input from-crane/",
    place: "inside",
    says: /nginx:1\.27/,
  },
  {
    begins: "curl -X DELETE",
    place: "inside",
    before: async () => expect(JSON.stringify(await images("import:2026-11"))).toContain("nginx"),
    after: async () => expect(JSON.stringify(await images("import:2026-11"))).not.toContain("nginx"),
  },
  { begins: "npx cache-registry scrub", place: "outside" },
  { begins: "npx cache-registry rebuild", place: "outside", before: () => scene.outside.stop() },
  { begins: "npx cache-registry migrate", place: "checkout", says: /kube-image-keeper v1: nothing here/ },
  { begins: "helm upgrade --install", place: "checkout", says: /STATUS: deployed/ },
  { begins: "kubectl run try-cache", place: "checkout" },
  { begins: "kubectl get pod try-cache", place: "checkout", says: /busybox$/ },
  { begins: "kubectl get cachedimages", place: "checkout" },
  { begins: "kubectl delete pod try-cache", place: "checkout", says: /deleted/ },
  {
    begins: "kubectl --namespace cache-registry-system get secret cache-registry-management-token",
    place: "checkout",
    // As the controllers do.
    before: () =>
      kubectl(...SYSTEM, "create", "secret", "generic", "cache-registry-management-token", "--from-literal=token=abc"),
    says: /^YWJj$/,
  },
  {
    begins: "helm uninstall cache-registry",
    place: "checkout",
    after: async () => expect(await kubectl("get", "mutatingwebhookconfigurations", "-o", "name")).toBe(""),
  },
  { begins: "npx cache-registry restore --dry-run", place: "checkout" },
  {
    begins: "npx cache-registry restore",
    place: "checkout",
    after: async () => expect(await kubectl("get", "crds", "-o", "name")).toBe(""),
  },
  {
    begins: "kubectl patch cachedimages.kuik.enix.io",
    place: "checkout",
    before: leavePredecessor,
    after: async () =>
      expect(await kubectl("get", "cachedimages.kuik.enix.io", "nginx", "-o", "jsonpath={.metadata.finalizers}")).toBe(
        "",
      ),
  },
  {
    begins: "kubectl delete crd cachedimages.kuik.enix.io",
    place: "checkout",
    says: /"cachedimages.kuik.enix.io" deleted[^"]*\s.*"repositories.kuik.enix.io" deleted/,
  },
];

const ELSEWHERE: readonly Elsewhere[] = [
  {
    begins: "kubectl ",
    document: "docs/troubleshooting.md",
    test: "test/integration/webhook.test.ts",
    words: ["docs/troubleshooting.md", 'line.startsWith("kubectl ")'],
  },
  {
    begins: "npm ci && npm run image",
    test: "test/integration/container-image.test.ts",
    words: ["`npm run image`", "buildImage({"],
  },
  {
    begins: "npx cache-registry registry",
    test: "test/integration/registry-defaults.test.ts",
    words: ['runCommand(["registry"]', "http://127.0.0.1:5000"],
  },
  {
    begins: "kubectl -n cache-registry-system set env daemonset/cache-registry-proxy",
    test: "test/e2e/chapters/mirror.ts",
    words: ['"set", "env"', "CREG_HOSTSTOML__ENABLED=false"],
  },
  {
    begins: "kubectl -n cache-registry-system rollout status daemonset/cache-registry-proxy",
    test: "test/e2e/chapters/mirror.ts",
    words: ['"rollout", "status"'],
  },
];

/** Not run by a test, and why. None needs a cloud account. */
const NOT_RUN: Readonly<Record<string, string>> = {
  "npm start": "builds and holds the one cluster of the machine; its stage is the one of the end-to-end tests",
  "npm test": "runs this test",
  "npm run verify": "a part of npm test",
};

const all = documents("README.md", "docs/*.md", "charts/cache-registry/README.md").flatMap(commandsOf);
const begins = ({ text }: Command, beginning: string) => `${text} `.startsWith(beginning);
const elsewhere = (command: Command) =>
  ELSEWHERE.find((row) => begins(command, row.begins) && command.place.startsWith(row.document ?? ""));
const isNotRun = ({ text }: Command) => Object.hasOwn(NOT_RUN, text);
/** The longest beginning counts. */
const here = (command: Command) =>
  HERE.filter((row) => begins(command, row.begins)).toSorted((a, b) => b.begins.length - a.begins.length)[0];

describe("the commands in our documents", () => {
  it("are all run by a test, or it is said why not", () => {
    expect(all.filter((command) => !elsewhere(command) && !isNotRun(command) && !here(command))).toEqual([]);
    expect(all.length).toBeGreaterThan(35);
    const idle = ELSEWHERE.filter((row) => !all.some((command) => elsewhere(command) === row));
    expect(idle).toEqual([]);
    expect(Object.keys(NOT_RUN).filter((text) => !all.some((command) => command.text === text))).toEqual([]);
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    for (const { text } of all.filter(isNotRun)) {
      const script = scripts[text.replace(/^npm (run )?/, "")] as string | undefined;
      expect(existsSync(join(ROOT, script?.replace("node ", "") ?? "no such script")), text).toBe(true);
    }
  });

  it.each(ELSEWHERE)("$begins … is run by $test", ({ test, words }) => {
    const text = readFileSync(join(ROOT, test), "utf8");
    for (const word of words) expect(text).toContain(word);
  });
});

it("the README knows every reason for which an image is left as it was", () => {
  const rows = [...readDocument("README.md").matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, reason]) => reason);
  expect(rows).toEqual(SKIP_REASONS);
});

describe("typed as they are", () => {
  beforeAll(async () => {
    scene = await openDocumentScene();
  }, 240_000);
  afterAll(() => scene?.dispose());

  it.each(HERE)("$begins", async (row) => {
    const { place, says = /^/, before, after } = row;
    const texts = new Set(
      all.filter((command) => !elsewhere(command) && here(command) === row).map(({ text }) => text),
    );
    expect([...texts]).not.toEqual([]);
    for (const text of texts) {
      await before?.();
      const output = await scene.type(text, place);
      expect(output.trim(), text).toMatch(says);
      await after?.();
    }
  });
});
