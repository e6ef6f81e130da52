/**
 * The main job on a real cluster: kubelet, containerd, API server, cert-manager, our image as real pods. The chapters run
 * in this order on one cluster; each uses images of its own.
 */
import { describe } from "vitest";
import { admission } from "./chapters/admission.ts";
import { certificate } from "./chapters/certificate.ts";
import { coldPull } from "./chapters/cold-pull.ts";
import { containerd } from "./chapters/containerd.ts";
import { documents } from "./chapters/documents.ts";
import { expiry } from "./chapters/expiry.ts";
import { outage } from "./chapters/outage.ts";
import { privileges } from "./chapters/privileges.ts";
import { uninstall } from "./chapters/uninstall.ts";
import { useScene } from "./scene.ts";

const VALUES = {
  cachedImagesExpiryDelay: "15s",
  registry: { gc: { grace: "3s" } },
  controllers: {
    webhook: {
      objectSelector: { matchExpressions: [{ key: "e2e/left-out", operator: "DoesNotExist" }] },
    },
  },
};

const scene = useScene({ values: VALUES });

describe("least privilege", () => {
  privileges(scene);
});
describe("admission", () => {
  admission(scene);
});
describe("cold pull", () => {
  coldPull(scene);
});
describe("outages", () => {
  outage(scene);
});
describe("expiry", () => {
  expiry(scene);
});
describe("containerd and the registry without the proxy", () => {
  containerd(scene);
});
describe("certificate", () => {
  certificate(scene);
});
describe("the commands of the README", () => {
  documents(scene);
});
describe("uninstall, and another release under another name", () => {
  uninstall(scene);
});
