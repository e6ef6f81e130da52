import { z } from "zod";

/*
 * The parts of a v1 Pod that the webhook looks at. Loose: everything else is carried along untouched, so that the schema
 * of a newer Kubernetes cannot lose a field here.
 */

const StringMap = z.record(z.string(), z.string());

const Container = z.looseObject({
  name: z.string(),
  image: z.string().optional(),
  imagePullPolicy: z.string().optional(),
});
export type Container = z.infer<typeof Container>;

const Volume = z.looseObject({
  name: z.string(),
  image: z.looseObject({ reference: z.string().optional(), pullPolicy: z.string().optional() }).nullish(),
});
export type Volume = z.infer<typeof Volume>;

const OwnerReference = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string().optional(),
  controller: z.boolean().nullish(),
});

const NodeRequirement = z.looseObject({
  key: z.string(),
  operator: z.string(),
  values: z.array(z.string()).nullish(),
});
export type NodeRequirement = z.infer<typeof NodeRequirement>;

const NodeSelector = z.looseObject({
  nodeSelectorTerms: z.array(z.looseObject({ matchExpressions: z.array(NodeRequirement).nullish() })).nullish(),
});

const Affinity = z.looseObject({
  nodeAffinity: z.looseObject({ requiredDuringSchedulingIgnoredDuringExecution: NodeSelector.nullish() }).nullish(),
});

export const Pod = z.looseObject({
  metadata: z.looseObject({
    name: z.string().optional(),
    generateName: z.string().optional(),
    labels: StringMap.nullish(),
    annotations: StringMap.nullish(),
    ownerReferences: z.array(OwnerReference).nullish(),
  }),
  spec: z.looseObject({
    containers: z.array(Container),
    initContainers: z.array(Container).nullish(),
    ephemeralContainers: z.array(Container).nullish(),
    volumes: z.array(Volume).nullish(),
    imagePullSecrets: z.array(z.looseObject({ name: z.string().optional() })).nullish(),
    priorityClassName: z.string().nullish(),
    nodeSelector: StringMap.nullish(),
    affinity: Affinity.nullish(),
    os: z.looseObject({ name: z.string() }).nullish(),
  }),
});
export type Pod = z.infer<typeof Pod>;
