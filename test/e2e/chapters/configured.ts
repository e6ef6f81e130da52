import { request } from "node:https";
import { expect, it } from "vitest";
import { pod } from "../../../hack/stage/objects.ts";
import { startPrivateUpstream } from "../private-upstream.ts";
import type { Scene } from "../scene.ts";
import { selfSigned } from "../self-signed.ts";

const NAMESPACE = "cache-registry-system";
const REGISTRY = "private.example.com";
const USER = { username: "ci", password: "known-from-the-values" };

/** Status of a request for an upload session: 202 for who may push, 401 for others. */
function beginUpload(host: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = {
      host,
      port: 5000,
      path: "/v2/mine/app/blobs/uploads/",
      method: "POST",
      rejectUnauthorized: false,
    };
    const begun = request({ ...options, headers: { ...headers, "content-length": "0" } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    begun.on("error", reject).end();
  });
}

/** Values that the parts must understand together: Secrets for an upstream, HTTPS at the registry, a user, a port of the node. */
export function configured(scene: () => Scene): void {
  const applySecret = (name: string, stringData: Record<string, string>) =>
    scene().apply({ apiVersion: "v1", kind: "Secret", metadata: { name }, stringData }, NAMESPACE);

  it("pulls a private image with a Secret of the release's, over HTTPS by the Service's address; a user may push", async () => {
    const { stage } = scene();
    const upstream = await startPrivateUpstream(stage, "team/secret:1");
    try {
      const { username, password } = upstream;
      // Here already when another chapter installed a release before.
      await scene().apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
      await applySecret("private.login", { username, password });
      // There before the proxies: a file that comes later is on a node only after a minute or so.
      const { certificate, key } = await selfSigned(`cache-registry-registry.${NAMESPACE}.svc`);
      await applySecret("own-tls", { "tls.crt": certificate, "tls.key": key, "ca.crt": certificate });
      const credentials = { existingSecret: "private.login" };
      await scene().install({
        values: {
          upstreams: [{ registry: REGISTRY, endpoints: [upstream.url], credentials }],
          registry: {
            tls: { enabled: true, existingSecret: "own-tls" },
            ephemeralPushes: true,
            auth: { htpasswd: { enabled: true, ...USER } },
            service: { type: "NodePort" },
            log: { format: "text" },
          },
        },
      });
      await scene().apply(pod("configured", `${REGISTRY}/team/secret:1`));
      const { spec } = await scene().running("configured");
      // The proxy has no credentials: that the pod runs shows that the registry was asked, and trusted.
      expect(spec.containers[0]?.image).toBe(`localhost:7439/${REGISTRY}/team/secret:1`);
      await scene().deletePod("configured");

      const host = new URL(await scene().release.registryUrl()).hostname;
      const authorization = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString("base64")}`;
      expect(await beginUpload(host, { authorization })).toBe(202);
      expect(await beginUpload(host, {})).toBe(401);
      const port = await stage.cluster.kubectl([
        ...["-n", NAMESPACE, "get", "service", "cache-registry-registry-external"],
        ...["-o", "jsonpath={.spec.ports[*].nodePort}"],
      ]);
      expect(port).toBe("31080");
    } finally {
      await upstream.stop();
    }
  });
}
