import type { Random } from "../../packages/core/src/testing/seeded-random.ts";

/*
 * The parts of random pods in which no image is named: the webhook must carry them along untouched.
 */

type Json = Record<string, unknown>;

const HANDLERS: readonly [Json, ...Json[]] = [
  { httpGet: { path: "/", port: 80, httpHeaders: [{ name: "X-Image", value: "nginx" }] } },
  { tcpSocket: { port: "http" } },
  { exec: { command: ["sh", "-c", 'echo "$image" \\'] } },
  { grpc: { port: 9000, service: "health" } },
];

/** Of a container, besides its name and image. */
export function randomSettings(random: Random, kind: string, windows: boolean): Json {
  const maybe = (share: number, part: Json): Json => (random.chance(share) ? part : {});
  const sidecar = kind === "init" && random.chance(0.3);
  const probes = kind === "main" || sidecar;
  return {
    ...(sidecar ? { restartPolicy: "Always" } : {}),
    ...maybe(0.3, { command: ["/bin/image"], args: ["--image", "nginx:1", "", "$(A)"], workingDir: "/a", tty: true }),
    ...maybe(0.4, {
      env: [
        { name: "image", value: "docker.io/library/nginx" },
        { name: "EMPTY" },
        { name: "A", valueFrom: { fieldRef: { fieldPath: "metadata.annotations['a']" } } },
        { name: "B", valueFrom: { secretKeyRef: { name: "s", key: "k", optional: true } } },
        { name: "C", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
      ],
      envFrom: [{ prefix: "P_", configMapRef: { name: "c" } }],
    }),
    ...maybe(0.4, {
      ports: [
        { name: "http", containerPort: 80 },
        { containerPort: 53, protocol: "UDP" },
      ],
    }),
    ...maybe(0.4, { resources: { limits: { cpu: "1500m", memory: "1.5Gi" }, requests: { cpu: 0.1 } } }),
    ...(probes ? maybe(0.4, { livenessProbe: probe(random), startupProbe: probe(random) }) : {}),
    ...(probes
      ? maybe(0.2, { lifecycle: { preStop: { exec: { command: ["true"] } }, postStart: { sleep: { seconds: 1 } } } })
      : {}),
    ...(windows
      ? {}
      : maybe(0.4, { securityContext: { capabilities: { drop: ["ALL"] }, runAsNonRoot: true, procMount: "Default" } })),
    ...maybe(0.2, { stdin: true, stdinOnce: true, terminationMessagePolicy: "FallbackToLogsOnError" }),
  };
}

function probe(random: Random): Json {
  return { ...random.pick(HANDLERS), periodSeconds: 1 + random.below(20), timeoutSeconds: 1 + random.below(9) };
}

/** A volume that is no image, of any kind. */
export function randomVolume(random: Random, name: string): Json {
  const source = random.pick<Json>([
    { emptyDir: {} },
    { emptyDir: { medium: "Memory", sizeLimit: "64Mi" } },
    { hostPath: { path: "/var/lib/image", type: "DirectoryOrCreate" } },
    { configMap: { name: "image", items: [{ key: "a", path: "b/c", mode: 256 }], optional: true } },
    { secret: { secretName: "s", defaultMode: 288 } },
    { persistentVolumeClaim: { claimName: "data", readOnly: true } },
    { nfs: { server: "10.0.0.2", path: "/" } },
    { iscsi: { targetPortal: "10.0.0.3:3260", iqn: "iqn.2026-01.com.example:a", lun: 0, chapAuthSession: false } },
    { csi: { driver: "image.csi.example.com", volumeAttributes: { image: "nginx", reference: "a/b" } } },
    { rbd: { monitors: ["10.0.0.4:6789"], image: "disk", pool: "rbd" } },
    {
      projected: {
        sources: [
          { serviceAccountToken: { path: "token", expirationSeconds: 3600, audience: "image" } },
          { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
        ],
      },
    },
    {
      ephemeral: {
        volumeClaimTemplate: {
          metadata: { labels: { image: "nginx" } },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
        },
      },
    },
  ]);
  return { name, ...source };
}
