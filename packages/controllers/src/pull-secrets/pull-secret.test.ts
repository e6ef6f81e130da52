import { parseImageReference } from "@cache-registry/core/image-reference";
import { describe, expect, it } from "vitest";
import { credentialsIn } from "./pull-secret.ts";

const encode = (text: string) => Buffer.from(text).toString("base64");
const secret = (auths: object) => ({
  metadata: { name: "pull" },
  type: "kubernetes.io/dockerconfigjson",
  data: { ".dockerconfigjson": encode(JSON.stringify({ auths })) },
});

function find(from: Parameters<typeof credentialsIn>[0], image = "harbor.local:5000/team/app:1") {
  const reference = parseImageReference(image);
  if (reference === undefined) throw new Error(image);
  const finding = credentialsIn(from, reference);
  return "problem" in finding ? finding.problem : finding.credentials.map(({ username }) => username);
}

describe("credentialsIn", () => {
  it.each([
    ["the host", "harbor.local:5000", ["u"]],
    ["the host as a URL", "https://harbor.local:5000/v2/", ["u"]],
    ["a path", "harbor.local:5000/team", ["u"]],
    ["the repository", "harbor.local:5000/team/app", ["u"]],
    ["half a component", "harbor.local:5000/tea", "NoMatch"],
    ["another port", "harbor.local", "NoMatch"],
    ["a label of the host", "*.local:5000", ["u"]],
    ["fewer labels", "*:5000", "NoMatch"],
    ["another host", "evil.local:5000", "NoMatch"],
  ])("matches by %s as the kubelet does", (_what, key, expected) => {
    expect(find(secret({ [key]: { username: "u", password: "p" } }))).toEqual(expected);
  });

  it("knows Docker Hub by its names", () => {
    for (const key of ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"]) {
      expect(find(secret({ [key]: { auth: encode("hub:p") } }), "nginx:1")).toEqual(["hub"]);
    }
  });

  it("tries all that match, the most exact first, and no tokens", () => {
    const auths = {
      "*.local:5000": { username: "any", password: "p" },
      "harbor.local:5000": { username: "host", password: "p" },
      "harbor.local:5000/team": { username: "team", password: "p" },
      "harbor.local:5000/team/app": { identitytoken: "t" },
    };
    expect(find(secret(auths))).toEqual(["team", "host", "any"]);
  });

  it("reads the older type too", () => {
    const data = { ".dockercfg": encode(JSON.stringify({ "harbor.local:5000": { auth: encode("old:p") } })) };
    expect(find({ metadata: { name: "pull" }, type: "kubernetes.io/dockercfg", data })).toEqual(["old"]);
  });

  it.each([
    ["another type", { type: "Opaque", data: { ".dockerconfigjson": encode('{"auths":{}}') } }],
    ["no such key", { type: "kubernetes.io/dockerconfigjson", data: { config: "" } }],
    ["no data", { type: "kubernetes.io/dockerconfigjson" }],
    ["no JSON", { type: "kubernetes.io/dockerconfigjson", data: { ".dockerconfigjson": encode("hunter2") } }],
    ["no object", { type: "kubernetes.io/dockercfg", data: { ".dockercfg": encode('"hunter2"') } }],
  ])("cannot use %s, and quotes nothing", (_what, parts) => {
    const reference = parseImageReference("harbor.local:5000/team/app:1");
    const finding = reference && credentialsIn({ metadata: { name: "pull" }, ...parts }, reference);
    expect(finding).toMatchObject({ problem: "Unreadable" });
    expect(JSON.stringify(finding)).not.toContain("hunter2");
  });
});
