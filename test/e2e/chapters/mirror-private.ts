import { expect, it } from "vitest";
import { container, pod } from "../../../hack/stage/objects.ts";
import type { PrivateUpstream } from "../private-upstream.ts";
import type { Scene } from "../scene.ts";

/** Its registry as image names say it; where it really is say the node's hosts.toml and the release's upstreams. */
export const PRIVATE_REGISTRY = "private.test:5000";
export const PRIVATE_IMAGE = "team/secret:1";

export function mirrorPrivate(scene: () => Scene, upstream: () => PrivateUpstream): void {
  it("a private image comes by the pod's own credentials from its registry, which nobody else gets to see", async () => {
    const { stage, release } = scene();
    const { username, password } = upstream();
    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    const config = JSON.stringify({ auths: { [PRIVATE_REGISTRY]: { username, password, auth } } });
    await scene().apply({
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { name: "private" },
      stringData: { ".dockerconfigjson": config },
    });
    const image = `${PRIVATE_REGISTRY}/${PRIVATE_IMAGE}`;
    const spec = { containers: [container("main", image)], imagePullSecrets: [{ name: "private" }] };
    await scene().apply(pod("secret", image, { spec }));
    expect((await scene().running("secret")).spec.containers[0]?.image).toBe(image);
    expect(await scene().cachedImage(image)).toBeUndefined();
    for (const component of ["proxy", "registry"]) {
      const selector = `app.kubernetes.io/component=${component}`;
      const logs = await stage.cluster.kubectl(["-n", release.namespace, "logs", "-l", selector, "--tail=-1"]);
      expect(logs, component).toContain("private.test");
      expect(logs, component).not.toContain(auth);
      expect(logs, component).not.toContain(password);
    }
    await scene().deletePod("secret");
  });
}
