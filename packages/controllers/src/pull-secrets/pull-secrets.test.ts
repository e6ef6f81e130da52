import { ApiError } from "@cache-registry/kube/api-error";
import type { KubeClient } from "@cache-registry/kube/client";
import type { ObjectName } from "@cache-registry/kube/resource";
import { silentLogger } from "@cache-registry/runtime/logger";
import { describe, expect, it } from "vitest";
import type { PodRecord } from "../pod/pod-record.ts";
import { createPullSecrets } from "./pull-secrets.ts";

const IMAGE = "harbor.local/team/app:1";
const signal = new AbortController().signal;

function secretFor(host: string, username: string) {
  const config = JSON.stringify({ auths: { [host]: { username, password: "hunter2" } } });
  const data = { ".dockerconfigjson": Buffer.from(config).toString("base64") };
  return { metadata: { name: "pull" }, type: "kubernetes.io/dockerconfigjson", data };
}

function setup({ confidential = true, namespaces = ["shop", "bank"] } = {}) {
  const secrets = new Map<string, object | number>();
  const reads: string[] = [];
  const pods = new Map<string, PodRecord>();
  const client = {
    async get(_resource: unknown, { namespace, name }: ObjectName) {
      reads.push(`${namespace}/${name}`);
      const secret = secrets.get(`${namespace}/${name}`) ?? 404;
      if (typeof secret === "number") throw new ApiError(secret, {});
      return secret;
    },
  } as unknown as KubeClient;
  const addPod = (namespace: string, name: string, rest: Partial<PodRecord>): void => {
    const record = {
      namespace,
      name,
      owner: undefined,
      images: [IMAGE],
      recorded: [IMAGE],
      refused: [],
      pullSecrets: [],
    };
    pods.set(`${namespace}/${name}`, { ...record, ...rest });
  };
  const pullSecrets = createPullSecrets({
    client,
    sharedNamespaces: new Set(namespaces),
    pods,
    usage: { usersOf: () => ({ pods: [...pods.keys()], owners: [] }) },
    confidential,
    logger: silentLogger(),
  });
  const names = (declared: { namespace: string; name: string }[] = []) =>
    pullSecrets.namesFor(IMAGE, declared).map(({ namespace, name }) => `${namespace}/${name}`);
  return { secrets, reads, addPod, pullSecrets, names };
}

describe("which pull secrets may be read", () => {
  it("are those of pods in shared namespaces that use the image through the cache", () => {
    const { addPod, names } = setup();
    addPod("shop", "a", { pullSecrets: ["pull", "other"] });
    addPod("shop", "b", { pullSecrets: ["pull"] });
    addPod("shop", "c", { pullSecrets: ["opted-out"], recorded: [] });
    addPod("default", "d", { pullSecrets: ["elsewhere"] });
    expect(names()).toEqual(["shop/other", "shop/pull"]);
  });

  it("are of the declared ones those beside such a pod", () => {
    const { addPod, names } = setup();
    const declared = ["shop", "bank", "default"].map((namespace) => ({ namespace, name: "declared" }));
    expect(names(declared)).toEqual([]);
    addPod("shop", "a", {});
    addPod("default", "d", {});
    addPod("bank", "e", { recorded: [] });
    expect(names(declared)).toEqual(["shop/declared"]);
  });

  it("are none without shared namespaces, and never more than a CachedImage can name", () => {
    const none = setup({ namespaces: [] });
    none.addPod("shop", "a", { pullSecrets: ["pull"] });
    expect(none.names()).toEqual([]);
    const many = setup();
    many.addPod("shop", "a", { pullSecrets: Array.from({ length: 50 }, (_, index) => `s${index}`) });
    expect(many.names()).toHaveLength(32);
  });
});

describe("reading pull secrets", () => {
  const at = (name: string) => ({ namespace: "shop", name });

  it("gives the credentials for the image, each once, and says which Secrets helped", async () => {
    const { secrets, pullSecrets } = setup();
    secrets.set("shop/pull", secretFor("harbor.local", "robot"));
    secrets.set("shop/copy", secretFor("harbor.local", "robot"));
    secrets.set("shop/other", secretFor("ghcr.io", "someone"));
    const { credentials, condition } = await pullSecrets.read(IMAGE, [at("pull"), at("copy"), at("other")], signal);
    expect(credentials).toEqual([{ username: "robot", password: "hunter2" }]);
    expect(condition).toMatchObject({ status: "True", reason: "HandedOver" });
    expect(condition.message).toContain("shop/pull, shop/copy;");
    expect(JSON.stringify(condition)).not.toMatch(/hunter2|robot/);
  });

  it.each([
    ["NotFound", 404, "it does not exist"],
    ["Forbidden", 403, "the controllers may not read it"],
    ["NoMatch", secretFor("ghcr.io", "someone"), "it names no user for harbor.local/team/app"],
    ["Unreadable", { type: "Opaque" }, "its type is not"],
  ])("takes back what was handed over when there is nothing: %s", async (reason, secret, message) => {
    const { secrets, pullSecrets } = setup();
    secrets.set("shop/pull", secret);
    const { credentials, condition } = await pullSecrets.read(IMAGE, [at("pull")], signal);
    expect(credentials).toEqual([]);
    expect(condition).toMatchObject({ status: "False", reason });
    expect(condition.message).toContain(`shop/pull: ${message}`);
  });

  it("leaves what was handed over when the API server cannot say", async () => {
    const { secrets, pullSecrets } = setup();
    secrets.set("shop/pull", 503);
    const { credentials, condition } = await pullSecrets.read(IMAGE, [at("pull")], signal);
    expect(credentials).toBeUndefined();
    expect(condition).toMatchObject({ status: "Unknown", reason: "Unreadable" });
  });

  it("reads nothing that could not be sent safely", async () => {
    const { reads, pullSecrets } = setup({ confidential: false });
    const { credentials, condition } = await pullSecrets.read(IMAGE, [at("pull")], signal);
    expect([reads, credentials]).toEqual([[], undefined]);
    expect(condition).toMatchObject({ status: "False", reason: "InsecureRegistry" });
  });
});
